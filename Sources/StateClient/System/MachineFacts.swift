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

/// An Ethernet card as Linux shows it.
package struct NetworkCard: Hashable, Sendable {
  package var name: String
  package var hardwareAddress: MACAddress

  package init(name: String, hardwareAddress: MACAddress) {
    self.name = name
    self.hardwareAddress = hardwareAddress
  }

  /// Every card with hardware behind it, in the order of their names.
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
