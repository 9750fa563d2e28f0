package import DHCPClient
package import NetworkTypes
package import StateClient

/// What the kernel command line says of the node's network, where that is more than one card with DHCP.
package struct NetworkSettings: Hashable, Sendable {
  package var bond: Bond?
  /// `perseid.vlan=ID`: the network is a tagged one on the card or the bond.
  package var vlan: UInt16?
  /// `perseid.mtu=BYTES`: the largest packet, with its IP header.
  package var mtu: UInt16?
  package var address: StaticAddress?
  /// `perseid.infiniband` or `perseid.infiniband=PORT`: the network is IP over InfiniBand (RFC 4391).
  package var infiniBand: InfiniBand?

  package struct InfiniBand: Hashable, Sendable {
    /// The interface, such as `ib0`; `nil` for the first with a carrier.
    package var device: String?
    /// The drivers that make interfaces of a card's ports: nothing on a bus asks for them.
    package static let modules = ["mlx4_ib", "mlx5_ib", "ib_ipoib"]
  }

  /// `perseid.bond=MODE:CARD,CARD[:OPTION=VALUE,...]`
  package struct Bond: Hashable, Sendable {
    /// As the kernel's bonding driver names it: `active-backup`, `802.3ad`, ...
    package var mode: String
    /// Interfaces by their names, or by their addresses with `-` or no separator in them.
    package var members: [String]
    /// Of the bonding driver, in the order in which they are set; `miimon` first.
    package var options: [Option]

    package struct Option: Hashable, Sendable {
      package var name: String
      package var value: String

      package init(name: String, value: String) {
        self.name = name
        self.value = value
      }
    }

    package static let modes = [
      "balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb",
    ]

    /// Whether a card is one of the members.
    package func has(_ card: NetworkCard) -> Bool {
      members.contains { $0 == card.name || MACAddress($0) == card.hardwareAddress }
    }
  }

  /// `ip=` in the kernel's own form (Documentation/admin-guide/nfs/nfsroot.rst).
  package struct StaticAddress: Hashable, Sendable {
    package var address: IPv4Address
    package var prefixLength: Int
    package var router: IPv4Address?
    package var server: IPv4Address?
    package var hostName: String?
    /// The interface; `nil` for the one that booted.
    package var device: String?
    package var nameServers: [IPv4Address]
    package var timeServers: [IPv4Address]
  }

  package init() {}

  /// - Throws: `StepFailure` naming the word that cannot be obeyed.
  package init(_ line: KernelCommandLine) throws {
    if let text = line.value("perseid.bond") { bond = try Self.bond(text) }
    if let text = line.value("perseid.vlan") {
      guard let id = UInt16(text), (1...4094).contains(id) else {
        throw Self.refused("perseid.vlan=\(text)", "a number from 1 to 4094")
      }
      vlan = id
    }
    if let text = line.value("perseid.mtu") {
      // RFC 791: every host takes 576; 65520 is InfiniBand's connected mode.
      guard let bytes = UInt16(text), (576...65520).contains(bytes) else {
        throw Self.refused("perseid.mtu=\(text)", "bytes from 576 to 65520")
      }
      mtu = bytes
    }
    if let text = line.value("ip") { address = try Self.address(text) }
    if line.has("perseid.infiniband") {
      let device = line.value("perseid.infiniband") ?? ""
      infiniBand = InfiniBand(device: device.isEmpty ? nil : device)
      // Its partitions are no VLANs, and a bond of its ports has rules of its own.
      if bond != nil || vlan != nil {
        throw Self.refused("perseid.infiniband", "no perseid.bond and no perseid.vlan beside it")
      }
    }
  }

  private static func refused(_ word: String, _ allowed: String) -> StepFailure {
    StepFailure(what: "the kernel argument \(word) cannot be obeyed: \(allowed) is expected", canRetry: false)
  }

  private static func bond(_ text: String) throws -> Bond {
    let form = "MODE:CARD,CARD[:OPTION=VALUE,...] with one of the modes \(Bond.modes.joined(separator: ", "))"
    let parts = text.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false).map(String.init)
    guard parts.count >= 2, Bond.modes.contains(parts[0]) else { throw refused("perseid.bond=\(text)", form) }
    let members = parts[1].split(separator: ",").map(String.init)
    guard !members.isEmpty else { throw refused("perseid.bond=\(text)", form) }
    var options: [Bond.Option] = []
    for word in parts.count == 3 ? parts[2].split(separator: ",") : [] {
      let pair = word.split(separator: "=", maxSplits: 1).map(String.init)
      let isName = pair.first?.utf8.allSatisfy { (0x61...0x7A).contains($0) || $0 == 0x5F } ?? false
      guard pair.count == 2, isName else { throw refused("perseid.bond=\(text)", form) }
      options.append(Bond.Option(name: pair[0], value: pair[1]))
    }
    // Without it the driver never sees a cable that is pulled.
    if !options.contains(where: { $0.name == "miimon" }) { options.insert(.init(name: "miimon", value: "100"), at: 0) }
    return Bond(mode: parts[0], members: members, options: options)
  }

  /// `<client-ip>:<server-ip>:<gw-ip>:<netmask>:<hostname>:<device>:<autoconf>:<dns0-ip>:<dns1-ip>:<ntp0-ip>`
  /// - Returns: `nil` where the address comes from DHCP.
  private static func address(_ text: String) throws -> StaticAddress? {
    let fields = text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
    func field(_ index: Int) -> String? {
      fields.indices.contains(index) && !fields[index].isEmpty ? fields[index] : nil
    }
    let form = "CLIENT:SERVER:ROUTER:NETMASK:HOSTNAME:DEVICE:none[:DNS:DNS:NTP], or dhcp,"
    func number(_ index: Int) throws -> IPv4Address? {
      guard let text = field(index) else { return nil }
      guard let address = IPv4Address(text) else { throw refused("ip= ('\(text)')", form) }
      return address
    }
    if fields.count == 1, ["dhcp", "on", "any", "off", "none"].contains(text) { return nil }
    if let way = field(6), !["off", "none", "static"].contains(way) { return nil }
    guard let address = try number(0) else { return nil }
    guard let mask = field(3), let prefixLength = prefixLength(mask) else { throw refused("ip=\(text)", form) }
    return StaticAddress(
      address: address, prefixLength: prefixLength, router: try number(2), server: try number(1), hostName: field(4),
      device: field(5), nameServers: try [number(7), number(8)].compactMap(\.self),
      timeServers: try [number(9)].compactMap(\.self))
  }

  /// `255.255.255.0` or `24`.
  private static func prefixLength(_ text: String) -> Int? {
    if let length = Int(text) { return (1...32).contains(length) ? length : nil }
    guard let mask = IPv4Address(text)?.rawValue, mask.leadingZeroBitCount == 0,
      (~mask).leadingZeroBitCount + mask.trailingZeroBitCount == 32
    else { return nil }
    return 32 - mask.trailingZeroBitCount
  }
}

extension AcquiredLease {
  /// An address that an administrator gave: for ever, and nobody is asked.
  package init(_ address: NetworkSettings.StaticAddress, server: IPv4Address?, obtainedAt: Int64) {
    self.init(
      address: address.address, prefixLength: address.prefixLength, router: address.router,
      serverIdentifier: address.server ?? server ?? .any, leaseSeconds: .max, renewalSeconds: .max,
      rebindingSeconds: .max, obtainedAt: obtainedAt, hostName: address.hostName, nameServers: address.nameServers,
      timeServers: address.timeServers)
  }
}
