extension BootQuirk {
  /// Sub-option 6 (discovery control) with bit 3: load the file named, ask no boot server.
  private static let bootFromFile: [UInt8] = [6, 1, 8, 255]

  /// Makers' numbers of the Raspberry Pi's cards (IEEE OUI registry).
  private static let raspberryPi: Set<UInt32> = [0xB827EB, 0xDCA632, 0xE45F01, 0x28CDC1, 0xD83ADD, 0x2CCF67]

  /// Every row: what follows from who asks, from the first to the last.
  package static let all: [BootQuirk] = [
    // What a client says wrongly of itself.
    BootQuirk(
      "raspberry-pi", when: Conditions(speakers: [.pxeFirmware], architecture: 0, makers: raspberryPi),
      .architectures([11]), "a Raspberry Pi says that it is a BIOS machine; it is 64-bit ARM",
      source: "tinkerbell/smee, which goes by the hardware address as well"),

    // Which ways there are to tell PXE firmware its boot file, the best one first.
    BootQuirk(
      "bios", when: Conditions(speakers: [.pxeFirmware], isBIOS: true, isProxied: false),
      .deliveries([.direct, .plain, .bootServer]),
      "a BIOS ROM looks for option 43, and without it for a boot server",
      source: "PXE specification 2.1, section 2.2; danderson/netboot pixiecore"),
    BootQuirk(
      "uefi", when: Conditions(speakers: [.pxeFirmware], isBIOS: false, isProxied: false),
      .deliveries([.plain, .direct, .bootServer]),
      "UEFI takes an offer with just a boot file at once, and hangs on a stray vendor class",
      source: "FOGProject/fog-docs#188; EDK2 PxeBcDhcp4.c"),
    BootQuirk(
      "bios-proxy", when: Conditions(speakers: [.pxeFirmware], isBIOS: true, isProxied: true),
      .deliveries([.direct, .bootServer]), "beside another server's offer only a PXE reply counts",
      source: "PXE specification 2.1, section 2.2.3; danderson/netboot pixiecore"),
    BootQuirk(
      "uefi-proxy", when: Conditions(speakers: [.pxeFirmware], isBIOS: false, isProxied: true),
      .deliveries([.bootServer, .direct]),
      "some UEFI ignores a proxy that names the file at once, and all of it asks at port 4011",
      source: "danderson/netboot pixiecore; dnsmasq (port 4011 from architecture 6 on)"),

    // What each of these ways is in a packet.
    BootQuirk(
      "direct", when: Conditions(speakers: [.pxeFirmware], delivery: .direct, isBootServer: false),
      .vendor(class: "PXEClient", specific: bootFromFile), "option 60 together with 43.6=8: load the file, ask nobody",
      source: "PXE specification 2.1, table 2-1; RFC 4578"),
    BootQuirk(
      "boot-server", when: Conditions(speakers: [.pxeFirmware], delivery: .bootServer, isBootServer: false),
      .vendor(class: "PXEClient"), "option 60 without 43: the firmware asks again at port 4011, which answers",
      source: "EDK2 PxeBcDhcp4.c (BINL); PXE specification 2.1, section 2.2.4"),
    BootQuirk(
      "boot-server-reply", when: Conditions(speakers: [.pxeFirmware], isBootServer: true),
      .vendor(class: "PXEClient"), "the answer of port 4011 names the file",
      source: "PXE specification 2.1, section 2.2.4; danderson/netboot pixiecore"),
    BootQuirk(
      "boot-item", when: Conditions(isBootServer: true), .bootItem, "the boot item that was chosen comes back",
      source: "PXE specification 2.1, table 2-1 (PXE_BOOT_ITEM); dnsmasq rfc2131.c"),

    // Other speakers.
    BootQuirk(
      "uefi-http", when: Conditions(speakers: [.httpFirmware]), .vendor(class: "HTTPClient"),
      "UEFI HTTP boot takes an offer only with its own vendor class in it", source: "UEFI specification 2.10, 24.7.2"),
    BootQuirk(
      "uefi-http-url", when: Conditions(speakers: [.httpFirmware]), .namesNoServer,
      "what is loaded is the URL in option 67 and nothing else", source: "UEFI specification 2.10, 24.7.3.1"),
    BootQuirk(
      "ipxe", when: Conditions(speakers: [.ipxe], isProxied: false), .etherboot([176, 1, 1]),
      "175.176=1: without it iPXE waits for a proxy server, up to 2 seconds", source: "iPXE dhcp.c (no-pxedhcp)"),
    BootQuirk(
      "ipxe-proxy", when: Conditions(speakers: [.ipxe], isProxied: true),
      .vendor(class: "PXEClient", specific: bootFromFile),
      "iPXE takes a proxy's boot file only from a PXE reply, and at once where it names the file",
      source: "iPXE dhcp.c (dhcp_has_pxeopts)"),

    BootQuirk(
      "renamed-class", when: Conditions(speakers: [.pxeFirmware], isNamedPXEClient: false), .ownVendorClass,
      "this ROM calls itself otherwise than PXEClient, and looks for that name in the reply",
      source: "dnsmasq --dhcp-pxe-vendor (HW-Client)"),
  ]
}
