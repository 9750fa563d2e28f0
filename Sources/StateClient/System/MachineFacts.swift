import CLinux
import Glibc
package import NetworkTypes
package import StateProtocol

/// What a machine can say of itself.
package enum MachineFacts {
  package static func read(generation: String?) -> Facts {
    var names = utsname()
    uname(&names)
    let release = withUnsafeBytes(of: &names.release) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    return Facts(
      kernelRelease: release, memoryBytes: Int64(clamping: clinux_memory_bytes()),
      processors: max(1, sysconf(CInt(_SC_NPROCESSORS_ONLN))), uptimeSeconds: Clock.bootTime,
      guid: SmallFile.text("/sys/class/dmi/id/product_uuid").map { $0.lowercased() }.flatMap { $0.isEmpty ? nil : $0 },
      generation: generation)
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
