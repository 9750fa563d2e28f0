import NetworkTypes

/// A row of the table of what firmware needs: whom it is about, what it changes in the answer, and where that is known
/// from. The rows are in BootQuirks.swift; they are applied in order.
package struct BootQuirk: Sendable {
  /// As `node why` and timelines call it.
  package var name: String
  var when: Conditions
  var change: Change
  /// For a person: what is done, and why.
  package var words: String
  /// The specification with its section, the public issue, or the peer that this is known from.
  package var source: String

  init(_ name: String, when: Conditions, _ change: Change, _ words: String, source: String) {
    self.name = name
    self.when = when
    self.change = change
    self.words = words
    self.source = source
  }

  /// Whose answer a row is for. What is not said holds for all.
  struct Conditions: Sendable {
    var speakers: Set<ClientDescription.Speaker>?
    /// `true`: BIOS; `false`: any other.
    var isBIOS: Bool?
    /// An architecture that the client names.
    var architecture: UInt16?
    /// The first three bytes of the hardware address, as their maker's number.
    var makers: Set<UInt32>?
    /// Whether option 60 begins with `PXEClient`; one that is absent counts as if.
    var isNamedPXEClient: Bool?
    /// Whether another server gives the address.
    var isProxied: Bool?
    var delivery: BootDelivery?
    /// Whether this is the answer of port 4011.
    var isBootServer: Bool?

    func hold(
      for client: ClientDescription, platform: BootPlatform?, delivery: BootDelivery? = nil, isBootServer: Bool = false
    ) -> Bool {
      if let speakers, !speakers.contains(client.speaker) { return false }
      if let isBIOS, isBIOS != (platform == .bios) { return false }
      if let architecture, !client.architectures.contains(architecture) { return false }
      if let makers, !makers.contains(UInt32(client.hardwareAddress.rawValue >> 24)) { return false }
      if let isNamedPXEClient, isNamedPXEClient != (client.vendorClass?.hasPrefix("PXEClient") ?? true) { return false }
      if let isProxied, isProxied != client.isProxied { return false }
      if let wanted = self.delivery, wanted != delivery { return false }
      if let wanted = self.isBootServer, wanted != isBootServer { return false }
      return true
    }
  }

  /// What a row changes.
  enum Change: Sendable {
    /// What the client says of its architectures is replaced.
    case architectures([UInt16])
    /// The ways to try, in order.
    case deliveries([BootDelivery])
    /// Option 60, and option 43 with it where there is one.
    case vendor(class: String, specific: [UInt8]? = nil)
    /// Option 60 as the client calls itself, up to the first colon.
    case ownVendorClass
    /// Sub-option 71 of the client's option 43 comes back.
    case bootItem
    /// Option 175.
    case etherboot([UInt8])
    /// No `siaddr` and no option 66.
    case namesNoServer
  }

  /// The row of this name.
  package static func named(_ name: String) -> BootQuirk? { all.first { $0.name == name } }
}

extension ClientDescription {
  /// Puts right what the client says of itself where the table knows better.
  mutating func correct() {
    guard speaker == .pxeFirmware else { return }
    for quirk in BootQuirk.all {
      if case .architectures(let architectures) = quirk.change, quirk.when.hold(for: self, platform: nil) {
        self.architectures = architectures
        correction = quirk.name
      }
    }
  }
}
