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
  ///   - requested: An address to ask for (option 50), as the one an earlier stage had.
  ///   - seconds: Gives up after so many seconds, 1 or more.
  /// - Throws: ``DHCPClientError``.
  package static func acquire(
    on interface: String, hardwareAddress: MACAddress, vendorClass: String, hostName: String? = nil,
    requested: IPv4Address? = nil, within seconds: Int
  ) throws(DHCPClientError) -> AcquiredLease {
    throw .notImplemented
  }

  /// Asks for more time: the server that gave the lease by unicast before T2 (RENEWING), any server by
  /// broadcast after it (REBINDING). Call it at ``AcquiredLease/renewAt``. The interface must hold the
  /// lease's address.
  /// - Parameter seconds: Gives up after so many seconds with ``DHCPClientError/noAnswer(_:)``; the lease
  ///   itself is good until its end, so call again later.
  /// - Throws: ``DHCPClientError``; after ``DHCPClientError/refused(_:)`` and ``DHCPClientError/expired``
  ///   the address must no longer be used: begin again with ``acquire(on:hardwareAddress:vendorClass:hostName:requested:within:)``.
  package static func renew(
    _ lease: AcquiredLease, on interface: String, hardwareAddress: MACAddress, vendorClass: String,
    hostName: String? = nil, within seconds: Int
  ) throws(DHCPClientError) -> AcquiredLease {
    throw .notImplemented
  }

  /// Gives the address back. Nothing answers a RELEASE, so nothing is waited for.
  package static func release(
    _ lease: AcquiredLease, on interface: String, hardwareAddress: MACAddress
  ) throws(DHCPClientError) {
    throw .notImplemented
  }

  /// Seconds of CLOCK_BOOTTIME, which goes on while the machine sleeps.
  package static func now() -> Int64 { 0 }
}
package enum DHCPClientError: Error { case notImplemented, noAnswer(String), refused(String), expired }
