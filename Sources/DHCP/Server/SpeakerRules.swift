import DHCPWire
import NetworkTypes

/// How speakers are told apart: the first rule that holds decides.
struct SpeakerRule: Sendable {
  enum Sign: Sendable {
    /// A user class (option 77), counted or bare, is this text.
    case userClass([UInt8])
    /// The vendor class (option 60) begins with this text.
    case vendorClass([UInt8])
    /// Architectures (option 93) are named at all.
    case architectures
  }

  var sign: Sign
  var speaker: ClientDescription.Speaker
  /// Why the rule is there.
  var source: String

  static let all: [SpeakerRule] = [
    // Before the vendor classes: iPXE calls itself PXEClient as well.
    SpeakerRule(
      sign: .userClass(Array("iPXE".utf8)), speaker: .ipxe,
      source: "iPXE sends the bare word, not RFC 3004's counted one"),
    SpeakerRule(
      sign: .vendorClass(Array("perseid-".utf8)), speaker: .perseid, source: "our own stage 1 and client"),
    SpeakerRule(
      sign: .vendorClass(Array("HTTPClient".utf8)), speaker: .httpFirmware, source: "UEFI specification, 24.7.2"),
    SpeakerRule(
      sign: .vendorClass(Array("PXEClient".utf8)), speaker: .pxeFirmware, source: "PXE specification 2.1"),
    SpeakerRule(
      sign: .vendorClass(Array("HW-Client".utf8)), speaker: .pxeFirmware, source: "a vendor's name for PXEClient"),
    SpeakerRule(
      sign: .architectures, speaker: .pxeFirmware,
      source: "RFC 4578: only boot firmware sends option 93; vendors rename option 60"),
  ]

  static func speaker(of message: DHCPMessage) -> ClientDescription.Speaker {
    let vendorClass = message.options[.vendorClass]
    let hasUserClass = message.options.contains(.userClass)
    let hasArchitectures = message.options.contains(.clientArchitecture)
    // Operating systems send none of them: nothing to compare on the common path.
    guard vendorClass != nil || hasUserClass || hasArchitectures else { return .other }
    let userClasses = hasUserClass ? message.userClasses : []
    for rule in all {
      let holds =
        switch rule.sign {
        case .userClass(let text): userClasses.contains { $0.elementsEqual(text) }
        case .vendorClass(let text): vendorClass?.starts(with: text) ?? false
        case .architectures: hasArchitectures
        }
      if holds { return rule.speaker }
    }
    return .other
  }
}

extension ClientDescription {
  /// Reads who is asking from a message.
  /// - Returns: `nil` where the message has no Ethernet address and no client identifier to know the client by.
  init?(_ message: DHCPMessage, serverAddress: IPv4Address) {
    guard let card = message.hardware.ethernet ?? Self.identified(message) else { return nil }
    self.init(
      hardwareAddress: card,
      clientIdentifier: message.clientIdentifier.map(Array.init),
      guid: message.machineIdentifier.map(Array.init),
      architectures: message.architectures,
      vendorClass: message.options.text(.vendorClass),
      hostName: message.options.text(.hostName),
      relay: message.relay == .any ? nil : message.relay,
      speaker: SpeakerRule.speaker(of: message),
      serverAddress: serverAddress)
    isDiscovering = message.messageType == .discover
    correct()
  }

  /// Hardware without a usable `chaddr` (InfiniBand, RFC 4390) is known by its client identifier:
  /// zeros stand for the card.
  private static func identified(_ message: DHCPMessage) -> MACAddress? {
    message.clientIdentifier == nil ? nil : MACAddress(rawValue: 0)
  }
}

extension LeaseHolder {
  /// The card where there is one, whatever identifier its programs send; else the identifier.
  init?(_ message: DHCPMessage) {
    if let card = message.hardware.ethernet {
      self = .hardware(card)
    } else if let identifier = message.clientIdentifier, !identifier.isEmpty {
      self = .identifier(Array(identifier))
    } else {
      return nil
    }
  }
}
