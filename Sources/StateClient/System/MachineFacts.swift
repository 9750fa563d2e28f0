import CLinux
import Glibc
package import NetworkTypes
package import StateProtocol

/// What a machine can say of itself.
package enum MachineFacts {
  /// - Parameter system: `/sys`.
  package static func read(generation: String?, system: String = "/sys") -> Facts {
    var names = utsname()
    uname(&names)
    let release = withUnsafeBytes(of: &names.release) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    return Facts(
      kernelRelease: release, memoryBytes: Int64(clamping: clinux_memory_bytes()),
      processors: max(1, sysconf(CInt(_SC_NPROCESSORS_ONLN))), uptimeSeconds: Clock.bootTime,
      guid: smbios("product_uuid", in: system)?.lowercased(), generation: generation,
      vendor: smbios("sys_vendor", in: system), product: smbios("product_name", in: system),
      serial: smbios("product_serial", in: system), disks: disks(in: system), links: links(in: system)
    ).bounded
  }

  private static func smbios(_ name: String, in system: String) -> String? {
    SmallFile.text(system + "/class/dmi/id/" + name).flatMap { $0.isEmpty ? nil : $0 }
  }

  /// What has a device behind it and is not empty: neither loop nor RAM disks, nor drives without a medium.
  static func disks(in system: String) -> [Facts.Disk] {
    let directory = system + "/block"
    return SmallFile.names(in: directory).compactMap { name in
      let disk = directory + "/" + name
      // Linux counts a disk in units of 512 bytes, whatever its own sectors are.
      guard SmallFile.exists(disk + "/device"), let sectors = SmallFile.text(disk + "/size").flatMap({ Int64($0) }),
        sectors > 0, sectors < Int64.max / 512
      else { return nil }
      let model = SmallFile.text(disk + "/device/model").flatMap { $0.isEmpty ? nil : $0 }
      return Facts.Disk(name: name, bytes: sectors * 512, model: model)
    }
  }

  static func links(in system: String) -> [Facts.Link] {
    NetworkCard.all(in: system + "/class/net").map { card in
      let directory = system + "/class/net/" + card.name
      // -1, or an error, without a carrier.
      let speed = SmallFile.text(directory + "/speed").flatMap { Int($0) }
      var driver = [CChar](repeating: 0, count: 4096)
      let length = readlink(directory + "/device/driver", &driver, driver.count)
      let path = length > 0 ? String(decoding: driver[..<length].map(UInt8.init(bitPattern:)), as: UTF8.self) : ""
      return Facts.Link(
        name: card.name, mac: card.hardwareAddress, speed: speed.flatMap { $0 > 0 ? $0 : nil },
        driver: path.split(separator: "/").last.map(String.init))
    }
  }
}

/// A wired card as Linux shows it.
package struct NetworkCard: Hashable, Sendable {
  package var name: String
  package var hardwareAddress: MACAddress
  /// DHCP's option 61 where that is all that DHCP knows the card by (InfiniBand); `nil` for Ethernet.
  package var clientIdentifier: [UInt8]?

  package init(name: String, hardwareAddress: MACAddress, clientIdentifier: [UInt8]? = nil) {
    self.name = name
    self.hardwareAddress = hardwareAddress
    self.clientIdentifier = clientIdentifier
  }

  /// Every Ethernet card with hardware behind it, in the order of their names.
  /// - Parameter directory: `/sys/class/net`.
  package static func all(in directory: String = "/sys/class/net") -> [NetworkCard] {
    SmallFile.names(in: directory).compactMap { name in
      let card = directory + "/" + name
      guard SmallFile.exists(card + "/device"), SmallFile.text(card + "/type") == "1",
        !SmallFile.exists(card + "/wireless"),
        // In a bond every card has the bond's address; its own is what the appliance knows it by.
        let address = (SmallFile.text(card + "/bonding_slave/perm_hwaddr") ?? SmallFile.text(card + "/address"))
          .flatMap({ MACAddress($0) }), address.isUnicast
      else { return nil }
      return NetworkCard(name: name, hardwareAddress: address)
    }
  }

  /// Every InfiniBand port that carries IP (IPoIB), in the order of their names.
  /// - Parameter directory: `/sys/class/net`.
  package static func infiniBand(in directory: String = "/sys/class/net") -> [NetworkCard] {
    SmallFile.names(in: directory).compactMap { name in
      let card = directory + "/" + name
      // ARPHRD_INFINIBAND. A child interface for another partition has a parent.
      guard SmallFile.text(card + "/type") == "32", !SmallFile.exists(card + "/parent"),
        let address = SmallFile.text(card + "/address")
      else { return nil }
      return NetworkCard(name: name, infiniBandAddress: address)
    }
  }

  /// - Parameter address: RFC 4391, section 9.1.1: four bytes with the queue pair, the port's GID of sixteen, of which
  ///   the last eight are the port's GUID.
  init?(name: String, infiniBandAddress address: String) {
    let bytes = address.split(separator: ":", omittingEmptySubsequences: false).compactMap { UInt8($0, radix: 16) }
    guard bytes.count == 20 else { return nil }
    let guid = Array(bytes.suffix(8))
    // An EUI-64 made of an EUI-48 has two bytes in the middle; the lowest bit would make it a group's.
    let short = [guid[0] & 0xFE] + guid[1...2] + guid[5...7]
    let mac = MACAddress(rawValue: short.reduce(0) { $0 << 8 | UInt64($1) })
    guard mac.isUnicast else { return nil }
    // As the cards' own boot firmware has it (RFC 4361: 255, four bytes of IAID, a DUID of type 2).
    self.init(
      name: name, hardwareAddress: mac,
      clientIdentifier: [0xFF, 0, 0, 0, 0, 0, 2, 0, 0, 0x02, 0xC9, 0] + guid)
  }

  /// Every card's address, the named one first.
  package static func addresses(first: MACAddress?, of cards: [NetworkCard]) -> [MACAddress] {
    var addresses = cards.map(\.hardwareAddress)
    if let first {
      addresses.removeAll { $0 == first }
      addresses.insert(first, at: 0)
    }
    return addresses
  }
}
