import DHCPWire
import Glibc
package import NetworkTypes

/// A DHCP client for a machine whose network card is up and may have no address yet (RFC 2131, section 4.4).
///
/// Everything blocks, and everything is bounded by the seconds the caller gives. It opens one UDP
/// socket on port 68 bound to the interface for the length of a call; it sets no address and no
/// route, which is the caller's to do with what it gets back.
package enum DHCPClient {
  /// Gets an address by DISCOVER, OFFER, REQUEST, ACK, with retransmission, back-off and jitter.
  /// - Parameters:
  ///   - interface: The card's name (`eth0`); it must be up.
  ///   - hardwareAddress: The card's own; the client identifier (option 61) is made from it.
  ///   - vendorClass: Option 60: `perseid-stage1` or `perseid-node`.
  ///   - hostName: Option 12, where the machine knows its name.
  ///   - clientIdentifier: Option 61 of an InfiniBand port, which has no hardware address that DHCP could carry.
  ///   - requested: An address to ask for (option 50), as the one an earlier stage had.
  ///   - seconds: Gives up after so many seconds, 1 or more.
  /// - Throws: ``DHCPClientError``.
  package static func acquire(
    on interface: String, hardwareAddress: MACAddress, vendorClass: String, hostName: String? = nil,
    clientIdentifier: [UInt8]? = nil, requested: IPv4Address? = nil, within seconds: Int
  ) throws(DHCPClientError) -> AcquiredLease {
    let machine = ClientMachine(
      acquiring: .init(
        hardwareAddress: hardwareAddress, vendorClass: vendorClass, hostName: hostName,
        clientIdentifier: clientIdentifier),
      requested: requested, now: milliseconds(), random: random)
    return try run(machine, on: interface, within: seconds)
  }

  /// Asks for more time: the server that gave the lease by unicast before T2 (RENEWING), any server by
  /// broadcast after it (REBINDING). Call it at ``AcquiredLease/renewAt``. The interface must hold the
  /// lease's address.
  /// - Parameter seconds: Gives up after so many seconds with ``DHCPClientError/noAnswer(interface:what:seconds:)``;
  ///   the lease itself is good until its end, so call again later.
  /// - Throws: ``DHCPClientError``; after ``DHCPClientError/refused(_:message:)`` and
  ///   ``DHCPClientError/expired(_:)`` the address must no longer be used: begin again with
  ///   ``acquire(on:hardwareAddress:vendorClass:hostName:clientIdentifier:requested:within:)``.
  package static func renew(
    _ lease: AcquiredLease, on interface: String, hardwareAddress: MACAddress, vendorClass: String,
    hostName: String? = nil, clientIdentifier: [UInt8]? = nil, within seconds: Int
  ) throws(DHCPClientError) -> AcquiredLease {
    let machine = ClientMachine(
      extending: lease,
      .init(
        hardwareAddress: hardwareAddress, vendorClass: vendorClass, hostName: hostName,
        clientIdentifier: clientIdentifier),
      now: milliseconds(), random: random)
    return try run(machine, on: interface, within: seconds)
  }

  /// Gives the address back. Nothing answers a RELEASE, so nothing is waited for.
  package static func release(
    _ lease: AcquiredLease, on interface: String, hardwareAddress: MACAddress
  ) throws(DHCPClientError) {
    var message = DHCPMessage(
      operation: .request, hardware: HardwareAddress(hardwareAddress), transaction: random(),
      clientAddress: lease.address)
    message.options.set(.messageType, [DHCPMessageType.release.rawValue])
    message.options.set(.serverIdentifier, lease.serverIdentifier.bytes)
    message.options.set(.clientIdentifier, [1] + hardwareAddress.bytes)
    let socket = try ClientSocket(interface: interface)
    try socket.send(message, to: lease.serverIdentifier)
  }

  /// Seconds of CLOCK_BOOTTIME, which goes on while the machine sleeps.
  package static func now() -> Int64 { milliseconds() / 1000 }

  /// Milliseconds of CLOCK_BOOTTIME.
  package static func milliseconds() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_BOOTTIME, &time)
    return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
  }

  private static func run(
    _ machine: ClientMachine, on interface: String, within seconds: Int
  ) throws(DHCPClientError) -> AcquiredLease {
    var machine = machine
    var socket = try ClientSocket(interface: interface)
    let (length, overflow) = Int64(max(1, seconds)).multipliedReportingOverflow(by: 1000)
    let deadline = overflow ? Int64.max / 2 : milliseconds() + length
    var action = machine.send(now: milliseconds())
    while true {
      let waitUntil: Int64
      switch action {
      case .acquired(let lease): return lease
      case .refused(let address, let message): throw .refused(address, message: message)
      case .expired(let address): throw .expired(address)
      case .wait(let until): waitUntil = until
      case .send(let message, let address, let until):
        try socket.send(message, to: address)
        waitUntil = until
      }
      if let message = try socket.receive(until: min(waitUntil, deadline)) {
        action = machine.received(message, now: milliseconds())
      } else if milliseconds() >= deadline {
        throw .noAnswer(interface: interface, what: machine.awaited, seconds: seconds)
      } else {
        action = machine.send(now: milliseconds())
      }
    }
  }

  private static func random() -> UInt32 { UInt32.random(in: .min ... .max) }
}
