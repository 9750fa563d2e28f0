package import NetworkTypes

/// What a node says when it reports a state: the body of `POST /v1/state`.
///
/// Unknown fields are ignored on both sides; `version` names the protocol.
package struct StateReport: Hashable, Sendable, Codable {
  package var version = 1
  /// Any word of lower-case letters, digits, `-` and `_`; `init` is the one that is built in.
  package var state: String
  /// The boot this belongs to (`perseid.boot=` on the kernel command line).
  package var boot: String?
  /// Every wired card, the one that booted first.
  package var hardwareAddresses: [MACAddress]
  /// The address in use.
  package var address: IPv4Address?
  package var facts: Facts

  package init(
    state: String, boot: String?, hardwareAddresses: [MACAddress], address: IPv4Address?, facts: Facts
  ) {
    self.state = state
    self.boot = boot
    self.hardwareAddresses = hardwareAddresses
    self.address = address
    self.facts = facts
  }

  /// Largest report that is read, in bytes.
  package static let sizeLimit = 256 << 10
}
