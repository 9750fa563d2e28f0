package import NetworkTypes

/// What options mean. A view is `nil` where its option is absent or has a length its definition
/// forbids: such an option is as good as absent, and no reason to leave a client without an answer.
extension DHCPMessage {
  /// Option 53; `nil` for BOOTP.
  package var messageType: DHCPMessageType? {
    options[.messageType]?.first.flatMap(DHCPMessageType.init(rawValue:))
  }

  /// Option 50.
  package var requestedAddress: IPv4Address? { options.address(.requestedAddress) }
  /// Option 54.
  package var serverIdentifier: IPv4Address? { options.address(.serverIdentifier) }
  /// Option 118 (RFC 3011).
  package var subnetSelection: IPv4Address? { options.address(.subnetSelection) }
  /// Option 55: the codes the client wants, most wanted first.
  package var parameterRequestList: ArraySlice<UInt8>? { options[.parameterRequestList] }

  /// Option 57: the longest message the client takes, in bytes with IP and UDP headers, 576 at least.
  package var maximumMessageSize: Int {
    max(576, options.unsigned16(.maximumMessageSize).map(Int.init) ?? 576)
  }

  /// Option 61, type byte included; RFC 2132, section 9.14 wants two bytes at least.
  package var clientIdentifier: ArraySlice<UInt8>? {
    options[.clientIdentifier].flatMap { $0.count >= 2 ? $0 : nil }
  }

  /// Option 97: the 16 bytes behind the type byte, which is 0. An option without content is a
  /// machine without a GUID.
  package var machineIdentifier: ArraySlice<UInt8>? {
    options[.machineIdentifier].flatMap { $0.count == 17 && $0.first == 0 ? $0.dropFirst() : nil }
  }

  /// Option 93: a list of IANA processor architecture types, in the client's order.
  package var architectures: [UInt16] {
    guard let bytes = options[.clientArchitecture], bytes.count >= 2 else { return [] }
    return stride(from: bytes.startIndex, to: bytes.endIndex - 1, by: 2).map { index in
      UInt16(bytes[index]) << 8 | UInt16(bytes[index + 1])
    }
  }

  /// Option 94: type (1 is UNDI), major, minor version.
  package var clientInterface: ArraySlice<UInt8>? {
    options[.clientInterface].flatMap { $0.count == 3 ? $0 : nil }
  }

  /// Option 77: RFC 3004 counts each class; iPXE sends the one bare word. Both are read: what is
  /// well counted is taken apart, anything else is one class.
  package var userClasses: [ArraySlice<UInt8>] {
    guard let bytes = options[.userClass], !bytes.isEmpty else { return [] }
    var classes: [ArraySlice<UInt8>] = []
    var index = bytes.startIndex
    while index < bytes.endIndex {
      let count = Int(bytes[index])
      guard count > 0, count <= bytes.endIndex - index - 1 else { return [bytes] }
      classes.append(bytes[index + 1..<index + 1 + count])
      index += 1 + count
    }
    return classes
  }

  /// Option 119 (RFC 3397).
  package var domainSearch: [String]? { options[.domainSearch].flatMap(DomainSearch.decode) }
  /// Option 121 (RFC 3442).
  package var classlessRoutes: [ClasslessRoute]? { options[.classlessRoutes].flatMap(ClasslessRoute.decode) }

  /// Option 82, sub-option 5: the network an address is wanted in (RFC 3527).
  package var linkSelection: IPv4Address? { relaySuboption(5).flatMap(IPv4Address.init(bytes:)) }
  /// Option 82, sub-option 11: the address to call the server by (RFC 5107).
  package var serverIdentifierOverride: IPv4Address? { relaySuboption(11).flatMap(IPv4Address.init(bytes:)) }

  private func relaySuboption(_ code: UInt8) -> ArraySlice<UInt8>? {
    guard let bytes = options[.relayAgentInformation] else { return nil }
    return EncapsulatedOptions(bytes)[code]
  }
}

/// Options inside an option: 43 of PXE, 82 of relay agents, 175 of iPXE.
package struct EncapsulatedOptions: Sendable {
  private let bytes: ArraySlice<UInt8>

  package init(_ bytes: ArraySlice<UInt8>) {
    self.bytes = bytes
  }

  /// The first option of that code; the walk ends where a length reaches beyond the end.
  package subscript(code: UInt8) -> ArraySlice<UInt8>? {
    var index = bytes.startIndex
    while index + 1 < bytes.endIndex {
      let count = Int(bytes[index + 1])
      guard count <= bytes.endIndex - index - 2 else { return nil }
      if bytes[index] == code { return bytes[index + 2..<index + 2 + count] }
      index += 2 + count
    }
    return nil
  }
}

extension DHCPOptions {
  /// An option of four bytes.
  package func address(_ code: DHCPOptionCode) -> IPv4Address? {
    unsigned32(code).map(IPv4Address.init(rawValue:))
  }

  /// An option of one or more addresses; a rest of fewer than four bytes is dropped.
  package func addresses(_ code: DHCPOptionCode) -> [IPv4Address] {
    guard let bytes = self[code], bytes.count >= 4 else { return [] }
    return stride(from: bytes.startIndex, to: bytes.endIndex - 3, by: 4).compactMap { index in
      IPv4Address(bytes: bytes[index..<index + 4])
    }
  }

  package func unsigned16(_ code: DHCPOptionCode) -> UInt16? {
    guard let bytes = self[code], bytes.count == 2 else { return nil }
    return bytes.reduce(0) { $0 << 8 | UInt16($1) }
  }

  package func unsigned32(_ code: DHCPOptionCode) -> UInt32? {
    guard let bytes = self[code], bytes.count == 4 else { return nil }
    return bytes.reduce(0) { $0 << 8 | UInt32($1) }
  }

  /// An option of text up to its first zero byte (some clients terminate it); `nil` where that leaves nothing.
  ///
  /// Text in DHCP is ASCII to be printed (RFC 2132, section 2). What is not, becomes a question mark:
  /// it ends up on terminals and in logs, and comes from anyone on the network.
  package func text(_ code: DHCPOptionCode) -> String? {
    guard let bytes = self[code]?.prefix(while: { $0 != 0 }), !bytes.isEmpty else { return nil }
    return String(decoding: bytes.map { (0x20...0x7E).contains($0) ? $0 : UInt8(ascii: "?") }, as: UTF8.self)
  }
}
