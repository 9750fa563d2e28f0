// A server, and clients that send it anything. An input is a conversation: for each message a byte (bit
// 0: it was broadcast; the other bits: minutes that pass before it), two bytes of length, the message.
//
// module NetworkTypes: Sources/NetworkTypes/*.swift
// module DHCPWire: Sources/DHCP/Wire/*.swift
// module DHCP: Sources/DHCP/Leases/*.swift Sources/DHCP/Server/Boot*.swift Sources/DHCP/Server/Client*.swift
// module DHCP: Sources/DHCP/Server/DHCPServerConfiguration.swift Sources/DHCP/Server/ReplyComposer.swift
// module DHCP: Sources/DHCP/Server/Responder*.swift Sources/DHCP/Server/RogueWatch.swift
// module DHCP: Sources/DHCP/Server/SpeakerRules.swift Sources/DHCP/Server/ExchangePackets.swift
import DHCP
import DHCPWire
import NetworkTypes

private struct Policy: ClientPolicy {
  /// 52:54:00:00:00:02 has an address of its own, within the pool.
  static let card = MACAddress(rawValue: 0x5254_0000_0002)
  static let address = IPv4Address(10, 0, 0, 101)

  func reservation(for client: ClientDescription) -> IPv4Address? {
    client.hardwareAddress == Self.card ? Self.address : nil
  }
  func owner(of address: IPv4Address) -> MACAddress? { address == Self.address ? Self.card : nil }
  func boot(for client: ClientDescription) -> BootAnswer {
    BootAnswer(bootFile: client.speaker == .other ? nil : "undionly.kpxe", hostName: "n0001", reason: "fuzzed")
  }
}

private let proxyConfiguration: DHCPServerConfiguration = {
  var proxy = configuration
  proxy.mode = .proxy
  return proxy
}()

private let configuration: DHCPServerConfiguration = {
  guard let subnet = IPv4Subnet("10.0.0.0/24"), let pool = IPv4Range("10.0.0.100-10.0.0.103"),
    let relayed = IPv4Subnet("10.2.0.0/16"), let relayedPool = IPv4Range("10.2.1.1-10.2.1.2"),
    let route = ClasslessRoute("192.168.0.0/16 via 10.0.0.7")
  else { fatalError("no configuration") }
  return DHCPServerConfiguration(
    interface: "eth1", serverAddress: IPv4Address(10, 0, 0, 1),
    network: .init(
      subnet: subnet, pools: [pool], router: IPv4Address(10, 0, 0, 254), mtu: 9000,
      domainSearch: ["cluster.test"], routes: [route]),
    relayed: [.init(subnet: relayed, pools: [relayedPool])], leaseSeconds: 600,
    nameServers: [IPv4Address(10, 0, 0, 53)], domain: "cluster.test", timeServers: [IPv4Address(10, 0, 0, 123)],
    allowsDynamicBOOTP: true)
}()

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  let input = Span(_unsafeStart: start, count: count)
  let responder = Responder(configuration, policy: Policy(), leases: [], isObserved: true)
  let proxy = Responder(proxyConfiguration, policy: Policy(), leases: [], isObserved: true)
  var bound: [IPv4Address: Lease] = [:]
  var now: Int64 = 1000
  var index = 0
  while index + 3 <= count {
    let wasBroadcast = input[index] & 1 == 1
    now += Int64(input[index] >> 1) * 60
    let length = min(Int(input[index + 1]) << 8 | Int(input[index + 2]), count - index - 3)
    let bytes = input.extracting(index + 3..<index + 3 + length)
    index += 3 + length
    guard let message = try? DHCPMessage(parsing: bytes) else { continue }
    try? responder.respond(to: message, Reception(wasBroadcast: wasBroadcast), now: now) { response in
      check(response, to: message)
      for lease in response.changes {
        check(lease, bound[lease.address], now)
        bound[lease.address] = lease
      }
    }
    try? proxy.respond(to: message, Reception(wasBroadcast: wasBroadcast), now: now) { response in
      check(response, to: message)
      precondition(response.changes.isEmpty, "a proxy records nothing")
    }
    if let response = try? responder.respond(toBootServerRequest: message) { check(response, to: message) }
  }
  return 0
}

/// Nobody gets an address that is somebody else's.
private func check(_ lease: Lease, _ before: Lease?, _ now: Int64) {
  guard lease.state == .bound else { return }
  precondition(configuration.networks.contains { $0.subnet.isHost(lease.address) }, "an address of no network")
  precondition(lease.address != configuration.serverAddress, "our own address")
  precondition(lease.address != Policy.address || lease.holder == .hardware(Policy.card), "a reserved address")
  guard let before, before.holder != lease.holder, before.state == .bound else { return }
  precondition(before.expires <= now, "one address, two holders")
}

/// A reply is one that its client can read.
private func check(_ response: Response, to request: DHCPMessage) {
  guard !response.bytes.isEmpty else { return }
  let bytes = Array(response.bytes[UDPFrame.headerLength...])
  precondition(bytes.count >= DHCPMessage.minimumReplyLength, "too short for relay agents")
  guard let reply = try? DHCPMessage(parsing: bytes.span) else {
    precondition(bytes.count > DHCPMessage.maximumLength, "a reply that cannot be read")
    return
  }
  precondition(reply.operation == .reply && reply.transaction == request.transaction)
  precondition(reply.messageType == response.type && (response.type == nil) == (request.messageType == nil))
  if response.type != nil { precondition(bytes[240] == DHCPOptionCode.messageType.rawValue, "type not first") }
  precondition(
    reply.options[.relayAgentInformation] == request.options[.relayAgentInformation], "option 82 is not as it came")
  let echoed = request.options[.relayAgentInformation].map { $0.count + 2 * max(1, ($0.count + 254) / 255) } ?? 0
  precondition(bytes.count <= max(300, min(request.maximumMessageSize, 1500) - 28) + echoed + 1, "too long")
}
