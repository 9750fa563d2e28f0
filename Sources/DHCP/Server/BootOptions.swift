import DHCPWire
import NetworkTypes

/// The boot part of one reply, ready to be written: what the policy answers, in the form that the table of quirks gives it.
struct BootOptions: Sendable {
  /// `siaddr`.
  var nextServer = IPv4Address.any
  /// `file`: at most 127 bytes.
  var file: [UInt8] = []
  /// Option 66 in text.
  var serverName: [UInt8]?
  /// Option 60.
  var vendorClass: [UInt8]?
  /// Option 43.
  var vendorSpecific: [UInt8]?
  /// Option 175.
  var etherboot: [UInt8]?
  /// The rows of the table that made it so.
  private(set) var quirks: [String] = []

  /// - Parameter bootServerRequest: What came to port 4011, where this is the answer to that.
  init(
    _ answer: BootAnswer, for client: ClientDescription, serverAddressText: [UInt8],
    bootServerRequest: DHCPMessage? = nil
  ) {
    let isBooting = answer.bootFile != nil
    if let bootFile = answer.bootFile {
      file = Array(bootFile.utf8)
      // Some ROMs read siaddr and file, some only the options (raspberrypi/firmware#801): both say the same.
      nextServer = client.serverAddress
      serverName = serverAddressText
    }
    switch client.speaker {
    case .pxeFirmware, .httpFirmware, .ipxe: break
    // Nothing is known of them, and nothing costs them time.
    case .perseid, .other: return
    }
    let platform = BootPlatform.all(client).first
    let delivery = answer.delivery ?? BootDelivery.order(for: client, platform: platform).first
    if let correction = client.correction { quirks.append(correction) }
    for quirk in BootQuirk.all
    where quirk.when.hold(
      for: client, platform: platform, delivery: delivery, isBootServer: bootServerRequest != nil)
    {
      if apply(quirk.change, client, bootServerRequest, isBooting: isBooting) { quirks.append(quirk.name) }
    }
  }

  /// - Returns: Whether that made a difference.
  private mutating func apply(
    _ change: BootQuirk.Change, _ client: ClientDescription, _ request: DHCPMessage?, isBooting: Bool
  ) -> Bool {
    switch change {
    case .architectures: return false
    case .deliveries: return isBooting
    case .etherboot(let bytes): etherboot = bytes
    // Nothing to boot: no vendor class either, or firmware would go on waiting for more.
    case _ where !isBooting: return false
    case .vendor(let name, let specific):
      vendorClass = Array(name.utf8)
      vendorSpecific = specific
    case .ownVendorClass:
      let name = (client.vendorClass ?? "").utf8.prefix { $0 != UInt8(ascii: ":") }
      guard vendorClass != nil, !name.isEmpty else { return false }
      vendorClass = Array(name.prefix(32))
    case .bootItem:
      guard let item = request?.options[.vendorSpecific].flatMap({ EncapsulatedOptions($0)[71] }), item.count == 4
      else { return false }
      vendorSpecific = [71, 4] + item + [255]
    case .namesNoServer:
      nextServer = .any
      serverName = nil
    }
    return true
  }

  func write(into writer: inout DHCPMessageWriter) {
    if let vendorClass { writer.add(.vendorClass, bytes: vendorClass) }
    if let vendorSpecific { writer.add(.vendorSpecific, bytes: vendorSpecific) }
    // The zero byte is inside: some ROMs read past the end of an option (netbootxyz#1198), and EDK2
    // writes a zero over the byte behind an option 67 that has none.
    if let serverName { writer.add(.tftpServerName, bytes: serverName, terminated: true) }
    if !file.isEmpty { writer.add(.bootFileName, bytes: file, terminated: true) }
    if let etherboot { writer.add(.etherboot, bytes: etherboot) }
  }
}
