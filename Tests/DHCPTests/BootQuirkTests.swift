import DHCPWire
import NetworkTypes
import Testing

@testable import DHCP

/// What each kind of client says of itself.
enum Firmware {
  static let bios: [DHCPOptionCode: [UInt8]] = [
    .vendorClass: text("PXEClient:Arch:00000:UNDI:002001"), .clientArchitecture: [0, 0],
  ]
  static let uefi: [DHCPOptionCode: [UInt8]] = [
    .vendorClass: text("PXEClient:Arch:00007:UNDI:003001"), .clientArchitecture: [0, 7],
  ]
  static let http: [DHCPOptionCode: [UInt8]] = [
    .vendorClass: text("HTTPClient:Arch:00016:UNDI:003001"), .clientArchitecture: [0, 16],
  ]
  static let ipxe: [DHCPOptionCode: [UInt8]] = [
    .vendorClass: text("PXEClient:Arch:00000:UNDI:002001"), .clientArchitecture: [0, 0], .userClass: text("iPXE"),
  ]
}

/// What real firmware needs in a reply, one test for each thing once learned the hard way.
struct BootQuirkTests {
  private func offer(
    _ options: [DHCPOptionCode: [UInt8]], bootFile: String? = "undionly.kpxe", delivery: BootDelivery? = nil,
    from card: UInt64 = 1, mode: DHCPServerConfiguration.Mode = .authoritative
  ) throws -> DHCPMessage {
    let desk = ResponderDesk(bootFile: bootFile, delivery: delivery, mode: mode)
    return try #require(try desk.reply(to: request(.discover, from: card, options))).message
  }

  @Test("every row of the table has a name of its own, words and a source, and there is a test named after each")
  func table() {
    let names = BootQuirk.all.map(\.name)
    #expect(Set(names).count == names.count)
    for quirk in BootQuirk.all {
      #expect(!quirk.words.isEmpty && !quirk.source.isEmpty, "\(quirk.name)")
      #expect(BootQuirk.named(quirk.name) != nil)
    }
    let tested: Set = [
      "raspberry-pi", "bios", "uefi", "bios-proxy", "uefi-proxy", "direct", "boot-server", "boot-server-reply",
      "boot-item", "uefi-http", "uefi-http-url", "ipxe", "ipxe-proxy", "renamed-class",
    ]
    #expect(Set(names) == tested)
  }

  @Test(
    "an exchange names the rows that its answer was made by",
    arguments: [
      (Firmware.bios, ["bios", "direct"]), (Firmware.uefi, ["uefi"]), (Firmware.http, ["uefi-http", "uefi-http-url"]),
      (Firmware.ipxe, ["ipxe"]),
      (
        [.vendorClass: text("HW-Client"), .clientArchitecture: [0, 0]],
        ["bios", "direct", "renamed-class"]
      ), ([:], []),
    ])
  func named(_ options: [DHCPOptionCode: [UInt8]], _ names: [String]) throws {
    let desk = ResponderDesk()
    _ = try desk.reply(to: request(.discover, options))
    #expect(desk.lastExchange?.quirks == names)
    #expect(desk.lastExchange?.boot?.reason == "a test")
  }

  @Test("raspberry-pi: a Raspberry Pi that says it is a BIOS machine is known by its card for 64-bit ARM")
  func raspberryPi() throws {
    let desk = ResponderDesk()
    for (card, architectures) in [(0xDCA6_3200_0001, [11]), (0x5254_0000_0001, [0])] as [(UInt64, [UInt16])] {
      _ = try desk.reply(
        to: request(.discover, Firmware.bios) { $0.hardware = HardwareAddress(MACAddress(rawValue: card)) })
      #expect(desk.lastAsked?.architectures == architectures)
      #expect(desk.lastExchange?.quirks.contains("raspberry-pi") == (architectures == [11]))
    }
  }

  @Test("direct: PXE firmware of any kind can be told to load the file and ask nobody, by 60 and 43.6=8")
  func direct() throws {
    for options in [Firmware.bios, Firmware.uefi] {
      let message = try offer(options, delivery: .direct)
      #expect(message.options[.vendorClass].map(Array.init) == text("PXEClient"))
      #expect(message.options[.vendorSpecific].map(Array.init) == [6, 1, 8, 255])
      #expect(message.bootFile == text("undionly.kpxe"))
    }
  }

  @Test("boot-server: 60 without 43 sends the firmware to port 4011")
  func bootServer() throws {
    for options in [Firmware.bios, Firmware.uefi] {
      let message = try offer(options, delivery: .bootServer)
      #expect(message.options[.vendorClass].map(Array.init) == text("PXEClient"))
      #expect(message.options[.vendorSpecific] == nil)
      #expect(message.nextServer == ResponderDesk.server)
    }
  }

  @Test("plain: a BIOS ROM that PXE replies do not suit gets an ordinary offer with a boot file")
  func plain() throws {
    let message = try offer(Firmware.bios, delivery: .plain)
    #expect(message.options[.vendorClass] == nil && message.options[.vendorSpecific] == nil)
    #expect(message.bootFile == text("undionly.kpxe"))
  }

  @Test(
    "speakers are told apart by user class, vendor class and architecture",
    arguments: [
      (Firmware.bios, ClientDescription.Speaker.pxeFirmware), (Firmware.uefi, .pxeFirmware),
      (Firmware.http, .httpFirmware), (Firmware.ipxe, .ipxe),
      (Firmware.bios.merging([.userClass: [4] + text("iPXE")]) { $1 }, .ipxe),
      ([.vendorClass: text("HW-Client:Arch:00007"), .clientArchitecture: [0, 7]], .pxeFirmware),
      ([.vendorClass: text("Renamed"), .clientArchitecture: [0, 7]], .pxeFirmware),
      ([.vendorClass: text("perseid-node")], .perseid), ([.vendorClass: text("udhcp 1.35.0")], .other),
      ([:], .other),
    ])
  func speakers(_ options: [DHCPOptionCode: [UInt8]], _ speaker: ClientDescription.Speaker) {
    #expect(SpeakerRule.speaker(of: request(.discover, options)) == speaker)
  }

  @Test(
    "option 93 is a list of architectures: BIOS where 0 comes first or there is none, UEFI for all others",
    arguments: [
      ([0], true), ([6], false), ([7], false), ([9], false), ([10], false), ([11], false), ([27], false),
      ([7, 9, 16], false), ([7, 0], false), ([0, 7], true), ([], true),
    ] as [([UInt8], Bool)])
  func architectures(_ list: [UInt8], _ isBIOS: Bool) throws {
    var options: [DHCPOptionCode: [UInt8]] = [.vendorClass: text("PXEClient")]
    if !list.isEmpty { options[.clientArchitecture] = list.flatMap { [0, $0] } }
    // Only BIOS ROMs are told to boot from the file and ask no boot server.
    #expect(try offer(options).options.contains(.vendorSpecific) == isBIOS)
  }

  @Test("a vendor's ROM that calls itself otherwise gets its own name back in option 60")
  func renamedVendorClass() throws {
    let message = try offer([.vendorClass: text("HW-Client:Arch:00000:UNDI:002001"), .clientArchitecture: [0, 0]])
    #expect(message.options[.vendorClass].map(Array.init) == text("HW-Client"))
    #expect(message.options.contains(.vendorSpecific))
  }

  @Test("what a ROM overloads into file and sname counts: it is known for what it is")
  func overloadedRequest() throws {
    var bytes = request(.discover).serialized()
    let options: [UInt8] = [60, 9] + text("PXEClient") + [93, 2, 0, 0, 255]
    bytes.replaceSubrange(108..<108 + options.count, with: options)
    bytes.replaceSubrange(243..<247, with: [52, 1, 1, 255])
    let message = try DHCPMessage(parsing: bytes.span)
    #expect(SpeakerRule.speaker(of: message) == .pxeFirmware)
    #expect(message.architectures == [0])
  }

  @Test("the boot file stands in siaddr and file, and again in options 66 and 67 with the zero byte inside")
  func bootFileTwice() throws {
    for options in [Firmware.bios, Firmware.uefi, Firmware.ipxe] {
      let message = try offer(options)
      #expect(message.nextServer == ResponderDesk.server)
      #expect(message.bootFile == text("undionly.kpxe"))
      #expect(message.options[.tftpServerName].map(Array.init) == text("10.0.0.1\0"))
      #expect(message.options[.bootFileName].map(Array.init) == text("undionly.kpxe\0"))
    }
  }

  @Test("a BIOS ROM gets vendor class PXEClient together with 43.6=8: boot from the file, ask no boot server")
  func bios() throws {
    let message = try offer(Firmware.bios)
    #expect(message.options[.vendorClass].map(Array.init) == text("PXEClient"))
    let vendor = EncapsulatedOptions(try #require(message.options[.vendorSpecific]))
    #expect(vendor[6].map(Array.init) == [8])
  }

  @Test("UEFI gets neither vendor class nor option 43: a stray vendor class lets it wait for a boot server")
  func uefi() throws {
    let message = try offer(Firmware.uefi)
    #expect(message.options[.vendorClass] == nil)
    #expect(message.options[.vendorSpecific] == nil)
  }

  @Test("PXEClient is never sent without option 43 unless port 4011 was chosen, whoever asks and whatever is answered")
  func noStrayVendorClass() throws {
    for options in [Firmware.bios, Firmware.uefi, Firmware.http, Firmware.ipxe, [:]] {
      for bootFile in [nil, "undionly.kpxe"] {
        let message = try offer(options, bootFile: bootFile)
        if message.options[.vendorClass].map(Array.init) == text("PXEClient") {
          #expect(message.options[.vendorSpecific] != nil)
        }
      }
    }
  }

  @Test("UEFI HTTP boot gets its vendor class back and the URL in option 67, and no TFTP server")
  func http() throws {
    let message = try offer(Firmware.http, bootFile: "http://10.0.0.1:9870/loader/snponly.efi")
    #expect(message.options[.vendorClass].map(Array.init) == text("HTTPClient"))
    #expect(message.options[.bootFileName].map(Array.init) == text("http://10.0.0.1:9870/loader/snponly.efi\0"))
    #expect(message.options[.tftpServerName] == nil)
    #expect(message.nextServer == .any)
  }

  @Test("iPXE is told not to wait for a proxy server: 175.176=1, with or without a boot file")
  func ipxe() throws {
    for bootFile in [nil, "http://10.0.0.1:9870/ipxe?mac=52:54:00:00:00:01"] {
      let message = try offer(Firmware.ipxe, bootFile: bootFile)
      #expect(message.options[.etherboot].map(Array.init) == [176, 1, 1])
      #expect(message.options[.vendorClass] == nil)
    }
  }

  @Test("where there is nothing to boot a reply says nothing of booting")
  func nothingToBoot() throws {
    for options in [Firmware.bios, Firmware.uefi, Firmware.http] {
      let message = try offer(options, bootFile: nil)
      #expect(message.nextServer == .any)
      #expect(message.bootFile.isEmpty)
      for code in [DHCPOptionCode.bootFileName, .tftpServerName, .vendorClass, .vendorSpecific] {
        #expect(message.options[code] == nil)
      }
    }
  }

  @Test("the GUID and the client identifier come back as they were sent; an empty option 97 is no reason for silence")
  func echoes() throws {
    let guid: [UInt8] = [0] + (1...16)
    let message = try offer(Firmware.bios.merging([.machineIdentifier: guid, .clientIdentifier: [0] + guid]) { $1 })
    #expect(message.options[.machineIdentifier].map(Array.init) == guid)
    #expect(message.options[.clientIdentifier].map(Array.init) == [0] + guid)
    let empty = try offer(Firmware.bios.merging([.machineIdentifier: []]) { $1 })
    #expect(empty.options[.machineIdentifier] == nil)
  }

  @Test("a boot file too long for the file field is in option 67 alone, whole")
  func longBootFile() throws {
    let url = "http://10.0.0.1:9870/" + String(repeating: "x", count: 150)
    let message = try offer(Firmware.http, bootFile: url)
    #expect(message.bootFile.isEmpty)
    #expect(message.options.text(.bootFileName) == url)
  }
}
