package import DHCP
package import NetworkTypes

/// All that a machine says of who it is: what a node is found by.
package struct MachineIdentity: Hashable, Sendable {
  /// All zeros where its hardware has no Ethernet address (InfiniBand).
  package var mac: MACAddress
  /// Option 61, type byte included.
  package var clientIdentifier: [UInt8]?
  /// Its GUID as text; more than one where it may be read in two ways.
  package var guids: [String]

  package init(mac: MACAddress, clientIdentifier: [UInt8]? = nil, guids: [String] = []) {
    self.mac = mac
    self.clientIdentifier = clientIdentifier
    self.guids = guids
  }

  package init(_ client: ClientDescription) {
    self.init(
      mac: client.hardwareAddress, clientIdentifier: client.clientIdentifier,
      guids: client.guid.map(Self.guids(of:)) ?? [])
  }

  /// The GUID of option 97 as text: its first three fields as SMBIOS has them, low byte first, which is
  /// what dmidecode and iPXE show; and byte by byte, as some firmware means it.
  static func guids(of bytes: [UInt8]) -> [String] {
    guard bytes.count == 16 else { return [] }
    let swapped = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15].map { bytes[$0] }
    return [guidText(swapped), guidText(bytes)]
  }

  private static func guidText(_ bytes: [UInt8]) -> String {
    [0..<4, 4..<6, 6..<8, 8..<10, 10..<16].map { hexadecimal(bytes[$0], separator: "") }.joined(separator: "-")
  }

  /// Pairs of lower-case hexadecimal digits.
  static func hexadecimal(_ bytes: some Sequence<UInt8>, separator: String) -> String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: separator)
  }

  /// The bytes of pairs of hexadecimal digits in either case, with or without `:` between them.
  static func bytes(hexadecimal text: String) -> [UInt8]? {
    let pieces: [Substring]
    if text.contains(":") {
      pieces = text.split(separator: ":", omittingEmptySubsequences: false)
    } else {
      guard text.utf8.count.isMultiple(of: 2) else { return nil }
      var rest = text[...]
      var pairs: [Substring] = []
      while !rest.isEmpty {
        pairs.append(rest.prefix(2))
        rest = rest.dropFirst(2)
      }
      pieces = pairs
    }
    var bytes: [UInt8] = []
    for piece in pieces {
      guard piece.utf8.count == 2, piece.utf8.allSatisfy({ $0 != UInt8(ascii: "+") && $0 != UInt8(ascii: "-") }),
        let byte = UInt8(piece, radix: 16)
      else { return nil }
      bytes.append(byte)
    }
    return bytes
  }

  /// A GUID as it is kept: `4c4c4544-0034-...`, in lower case.
  /// - Returns: `nil` for what is none, and for all zeros or ones, which firmware without a GUID says.
  static func guid(_ text: String) -> String? {
    let lower = text.lowercased()
    let lengths = lower.split(separator: "-", omittingEmptySubsequences: false).map(\.utf8.count)
    guard lengths == [8, 4, 4, 4, 12] || lengths == [32],
      let bytes = bytes(hexadecimal: lower.replacing("-", with: "")), bytes.count == 16,
      !bytes.allSatisfy({ $0 == 0 }), !bytes.allSatisfy({ $0 == 0xFF })
    else { return nil }
    return guidText(bytes)
  }
}

extension RegistryView {
  /// Which node a machine is: the one place that says so.
  ///
  /// By its card; where no node has that card, by the client identifier or the GUID that a person set for
  /// a node. A GUID that was only seen never identifies a node: vendors repeat them.
  package func node(of machine: MachineIdentity) -> Node? {
    if let node = node(with: machine.mac) { return node }
    if let identifier = machine.clientIdentifier, let node = node(withClientIdentifier: identifier) { return node }
    return machine.guids.firstAnswer { self.node(withGUID: $0) }
  }
}
