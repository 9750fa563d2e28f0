package import NetworkTypes

/// What the server asks of whoever knows the machines. Answers come from memory, at once.
package protocol ClientPolicy: Sendable {
  /// The address set aside for this client, `nil` where it takes one of the pool.
  func reservation(for client: ClientDescription) -> IPv4Address?
  /// The card that stands for a client without an Ethernet address (InfiniBand); `nil` where it is nobody known.
  func card(of client: ClientDescription) -> MACAddress?
  /// Whose address this is: the card it is set aside for. The pool gives it to nobody else.
  func owner(of address: IPv4Address) -> MACAddress?
  /// Whether this card is a registered machine's, which comes before others where addresses are few.
  func isKnown(_ card: MACAddress) -> Bool
  /// How many registered machines have no address yet.
  var waiting: Int { get }
  /// What this client is to boot.
  func boot(for client: ClientDescription) -> BootAnswer
}

extension ClientPolicy {
  package func isKnown(_ card: MACAddress) -> Bool { false }
  package var waiting: Int { 0 }
  package func card(of client: ClientDescription) -> MACAddress? { nil }
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
  /// How PXE firmware is told; `nil` for the first way that the table of quirks has for it.
  package var delivery: BootDelivery?
  /// The policy's own word for what it tries with this boot file. Handed on to observers, never read here.
  package var trial: String?

  package init(
    bootFile: String?, hostName: String? = nil, reason: String, delivery: BootDelivery? = nil, trial: String? = nil
  ) {
    self.bootFile = bootFile
    self.hostName = hostName
    self.reason = reason
    self.delivery = delivery
    self.trial = trial
  }
}

/// One message answered, or not: what observers are told. An object, since it goes a long way and is a few hundred bytes.
package final class Exchange: Sendable {
  /// The name of the message that came: `DISCOVER`, `REQUEST`, ...
  package let received: String
  /// The name of the answer, `nil` for silence.
  package let sent: String?
  package let client: ClientDescription
  /// The address offered, acknowledged or refused.
  package let address: IPv4Address?
  /// The boot file in the answer.
  package let bootFile: String?
  /// Why this address, or none, in words for a person.
  package let reason: String
  /// What the policy answered, where it was asked and the reply says so.
  package let boot: BootAnswer?
  /// The rows of the table of quirks (``BootQuirk``) that the reply's boot part was made by.
  package let quirks: [String]
  /// Of a machine that boots; `nil` for anything else that asks for addresses.
  package let packets: ExchangePackets?

  /// Reasons that are no lease's.
  package static let proxied = "another server gives the address"
  package static let atBootServerPort = "asked at port 4011"

  package init(
    received: String, sent: String?, client: ClientDescription, address: IPv4Address?, bootFile: String?,
    reason: String, boot: BootAnswer? = nil, quirks: [String] = [], packets: ExchangePackets? = nil
  ) {
    self.received = received
    self.sent = sent
    self.client = client
    self.address = address
    self.bootFile = bootFile
    self.reason = reason
    self.boot = boot
    self.quirks = quirks
    self.packets = packets
  }
}

/// Told of every exchange, on the server's own path: must return at once.
package protocol ExchangeObserver: Sendable {
  func observed(_ exchange: Exchange)
  /// Another DHCP server was heard on the segment: once a minute at most for each.
  func observed(_ server: OtherServer)
  /// A stranger was found to use an address that is ours to give out.
  func observed(_ conflict: AddressConflict)
}

extension ExchangeObserver {
  package func observed(_ server: OtherServer) {}
  package func observed(_ conflict: AddressConflict) {}
}

/// An address that is ours to give out, and a machine that uses it all the same.
package struct AddressConflict: Hashable, Sendable {
  package var address: IPv4Address
  /// The stranger's card; `nil` behind a relay agent, where it cannot be seen.
  package var card: MACAddress?
  /// For how long nobody gets the address.
  package var blockedSeconds: Int
}
