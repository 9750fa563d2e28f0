import DHCPWire
import NetworkTypes

/// How the boot is told to each kind of speaker. What differs is data, each with its reason.
struct BootStyle: Sendable {
  /// `siaddr`, `file`, and options 66 and 67.
  var namesServer = true
  /// Option 60 of the reply.
  var vendorClass: [UInt8]?
  /// Option 43 of the reply.
  var vendorSpecific: [UInt8]?
  /// Option 175 of the reply.
  var etherboot: [UInt8]?

  /// Sub-option 6 (discovery control) with bit 3: boot from the file named, ask no boot server.
  private static let bootFromFile: [UInt8] = [6, 1, 8, 255]

  /// BIOS ROMs look for the vendor class, and with it for option 43: without it they would go
  /// looking for a boot server (PXE specification 2.1, pixiecore).
  static let bios = BootStyle(vendorClass: Array("PXEClient".utf8), vendorSpecific: bootFromFile)
  /// UEFI: a vendor class without boot servers hangs it (fog-docs#188), and an offer with just a boot
  /// file is taken at once by EDK2.
  static let uefi = BootStyle()
  /// UEFI HTTP boot takes an offer only with its own vendor class in it (UEFI specification, 24.7.2).
  static let http = BootStyle(namesServer: false, vendorClass: Array("HTTPClient".utf8))
  /// Sub-option 176 (no-pxedhcp): without it iPXE waits for a proxy server, up to 2 seconds.
  static let ipxe = BootStyle(etherboot: [176, 1, 1])
  static let plain = BootStyle()

  /// IANA processor architecture types of BIOS machines (RFC 4578; a Raspberry Pi says 0 too).
  private static let biosArchitectures: Set<UInt16> = [0]

  init(
    namesServer: Bool = true, vendorClass: [UInt8]? = nil, vendorSpecific: [UInt8]? = nil, etherboot: [UInt8]? = nil
  ) {
    self.namesServer = namesServer
    self.vendorClass = vendorClass
    self.vendorSpecific = vendorSpecific
    self.etherboot = etherboot
  }

  static func style(for client: ClientDescription) -> BootStyle {
    switch client.speaker {
    case .pxeFirmware:
      // The list is the client's; a ROM that names none is older than the option, and BIOS.
      client.architectures.isEmpty || client.architectures.contains(where: biosArchitectures.contains)
        ? .bios : .uefi
    case .httpFirmware: .http
    case .ipxe: .ipxe
    case .perseid, .other: .plain
    }
  }
}

/// The boot part of one reply, ready to be written.
struct BootOptions: Sendable {
  /// `siaddr`.
  var nextServer = IPv4Address.any
  /// `file`: at most 127 bytes.
  var file: [UInt8] = []
  var style: BootStyle
  /// Option 66 in text.
  var serverName: [UInt8]?

  init(_ answer: BootAnswer, for client: ClientDescription, serverAddressText: [UInt8]) {
    style = BootStyle.style(for: client)
    guard let bootFile = answer.bootFile else {
      // Nothing to boot: no vendor class either, or firmware would go on waiting for more.
      style.vendorClass = nil
      style.vendorSpecific = nil
      return
    }
    // ROMs of some vendors call themselves otherwise (HW-Client), and look for that in the reply.
    if style.vendorClass != nil, client.speaker == .pxeFirmware, let own = client.vendorClass {
      let name = own.utf8.prefix { $0 != UInt8(ascii: ":") }
      if !name.isEmpty { style.vendorClass = Array(name.prefix(32)) }
    }
    file = Array(bootFile.utf8)
    guard style.namesServer else { return }
    // Some ROMs read siaddr and file, some only the options (raspberrypi/firmware#801): both say the same.
    nextServer = client.serverAddress
    serverName = serverAddressText
  }

  func write(into writer: inout DHCPMessageWriter) {
    if let vendorClass = style.vendorClass { writer.add(.vendorClass, bytes: vendorClass) }
    if let vendorSpecific = style.vendorSpecific { writer.add(.vendorSpecific, bytes: vendorSpecific) }
    // The zero byte is inside: some ROMs read past the end of an option (netbootxyz#1198), and EDK2
    // writes a zero over the byte behind an option 67 that has none.
    if let serverName { writer.add(.tftpServerName, bytes: serverName, terminated: true) }
    if !file.isEmpty { writer.add(.bootFileName, bytes: file, terminated: true) }
    if let etherboot = style.etherboot { writer.add(.etherboot, bytes: etherboot) }
  }
}
