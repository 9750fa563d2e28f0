package import NetworkTypes

/// What the server asks of whoever knows the machines. Answers come from memory, at once.
package protocol ClientPolicy: Sendable {
  /// The address set aside for this client, `nil` where it takes one of the pool.
  func reservation(for client: ClientDescription) -> IPv4Address?
  /// Whose address this is: the card it is set aside for. The pool gives it to nobody else.
  func owner(of address: IPv4Address) -> MACAddress?
  /// What this client is to boot.
  func boot(for client: ClientDescription) -> BootAnswer
}

/// The boot part of a reply.
package struct BootAnswer: Hashable, Sendable {
  /// The boot file: a name for TFTP (`undionly.kpxe`) or a URL (UEFI HTTP boot, iPXE); `nil` where
  /// there is nothing to boot. At most 127 bytes.
  package var bootFile: String?
  /// The host name to send (option 12), where the machine is known.
  package var hostName: String?
  /// Why, in words for a person.
  package var reason: String

  package init(bootFile: String?, hostName: String? = nil, reason: String) {
    self.bootFile = bootFile
    self.hostName = hostName
    self.reason = reason
  }
}

/// One message answered, or not: what observers are told.
package struct Exchange: Hashable, Sendable {
  /// The name of the message that came: `DISCOVER`, `REQUEST`, ...
  package var received: String
  /// The name of the answer, `nil` for silence.
  package var sent: String?
  package var client: ClientDescription
  /// The address offered, acknowledged or refused.
  package var address: IPv4Address?
  /// The boot file in the answer.
  package var bootFile: String?
  private var addressReason: String
  private var bootReason: String

  /// Why this answer, in words for a person. Put together when somebody reads it: most exchanges are nobody's.
  package var reason: String {
    bootReason.isEmpty ? addressReason : addressReason.isEmpty ? bootReason : "\(addressReason); \(bootReason)"
  }

  package init(
    received: String, sent: String?, client: ClientDescription, address: IPv4Address?, bootFile: String?,
    reason: String, bootReason: String = ""
  ) {
    self.received = received
    self.sent = sent
    self.client = client
    self.address = address
    self.bootFile = bootFile
    addressReason = reason
    self.bootReason = bootReason
  }
}

/// Told of every exchange, on the server's own path: must return at once.
package protocol ExchangeObserver: Sendable {
  func observed(_ exchange: Exchange)
  /// Another DHCP server was heard on the segment: once a minute at most for each.
  func observed(_ server: OtherServer)
}

extension ExchangeObserver {
  package func observed(_ server: OtherServer) {}
}
