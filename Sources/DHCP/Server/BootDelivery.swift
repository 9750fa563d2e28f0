/// How PXE firmware is told its boot file. Firmware of one kind takes what another hangs on, so that there are several.
package enum BootDelivery: String, Hashable, Sendable, Codable, CaseIterable {
  /// An ordinary DHCP reply that names a boot file, and nothing of PXE.
  case plain
  /// A PXE reply that says: load this file, look for nothing else (option 43, sub-option 6, value 8).
  case direct
  /// A PXE reply without option 43: the firmware asks again, at port 4011 (called BINL).
  case bootServer = "boot-server"

  package var words: String {
    switch self {
    case .plain: "a plain DHCP reply with a boot file"
    case .direct: "a PXE reply that names the file to load (43.6=8)"
    case .bootServer: "a PXE reply after which the firmware asks at port 4011"
    }
  }

  /// The ways to try with PXE firmware, the first being what it gets while nothing speaks against it.
  package static func order(for client: ClientDescription, platform: BootPlatform?) -> [BootDelivery] {
    var order: [BootDelivery] = []
    for quirk in BootQuirk.all {
      if case .deliveries(let deliveries) = quirk.change, quirk.when.hold(for: client, platform: platform) {
        order = deliveries
      }
    }
    return order
  }
}
