import Foundation
package import NetworkTypes

/// A virtual machine with real firmware, no disk, and one network card it boots from.
///
/// It runs emulated (no KVM), so that it behaves the same wherever the tests run.
package final class Machine: Sendable {
  package enum Firmware: String, Sendable, CaseIterable {
    /// SeaBIOS with iPXE in the card's ROM.
    case bios
    /// SeaBIOS with a PXE stack that does not call itself iPXE: the loader that DHCP names is run over it (UNDI).
    case biosUNDI = "bios-undi"
    /// OVMF, booting by PXE with its own network stack.
    case uefi
    /// OVMF, booting by HTTP with its own network stack.
    case uefiHTTP = "uefi-http"
    /// OVMF with Secure Boot enforced and Microsoft's keys in it, booting by PXE.
    case uefiSecureBoot = "uefi-secure-boot"

    /// Those that boot with what they get where nothing is set: no iPXE is signed for Secure Boot.
    package static let byDefault: [Firmware] = [.bios, .uefi, .uefiHTTP]
  }

  /// What a network card is, as QEMU emulates it.
  package enum CardModel: String, Sendable {
    case virtio = "virtio-net-pci"
    /// Intel 82574L, for which only Debian's kernel for all machines has a driver.
    case e1000e
  }

  /// A card that is not booted from.
  package struct Card: Sendable {
    package var mac: MACAddress
    /// Whether it is plugged into the site's switch, or into a network where nobody is.
    package var isOnSwitch: Bool

    package init(mac: MACAddress, isOnSwitch: Bool) {
      self.mac = mac
      self.isOnSwitch = isOnSwitch
    }
  }

  package struct Configuration: Sendable {
    package var name: String
    package var mac: MACAddress
    package var firmware: Firmware
    /// Mebibytes.
    package var memory: Int
    package var processors: Int
    /// Whether a reset ends it instead.
    package var endsAtReset: Bool
    /// Cards besides the one it boots from, which come before that one in the order of the bus.
    package var otherCards: [Card] = []
    /// The card it boots from.
    package var card = CardModel.virtio
    /// Whether it has a screen (VGA). The firmware then speaks there, and not on the serial console.
    package var hasScreen = false
    /// The tagged network that its port of the switch has besides the untagged one that it boots on: frames up to 9000
    /// bytes then pass between it and the server.
    package var vlan: Int?

    package init(
      name: String = "machine", mac: MACAddress, firmware: Firmware = .bios, memory: Int = 2048, processors: Int = 2,
      endsAtReset: Bool = false
    ) {
      self.name = name
      self.mac = mac
      self.firmware = firmware
      self.memory = memory
      self.processors = processors
      self.endsAtReset = endsAtReset
    }

    /// The `number`th machine of a site: 52:54:00:00:00:01 and so on.
    package init(number: Int, firmware: Firmware = .bios, processors: Int = 2) {
      self.init(
        name: "machine\(number)", mac: MACAddress(rawValue: 0x5254_0000_0000 + UInt64(number)), firmware: firmware,
        processors: processors)
    }
  }

  package let configuration: Configuration
  /// When it was powered on.
  package let powerOn: ContinuousClock.Instant
  private let process: RunningProcess

  /// The serial console.
  package var console: LineLog { process.log }
  package var mac: MACAddress { configuration.mac }
  package var isRunning: Bool { process.isRunning }

  private let controlSocket: String
  private let directory: String
  /// The port that its cable leads to, where that is no plain one.
  package let port: RunningProcess?

  /// - Parameters:
  ///   - otherTaps: One for each of the other cards.
  ///   - port: What passes frames between the tap and the switch, where they are not joined.
  init(
    _ configuration: Configuration, tap: String, otherTaps: [String], port: RunningProcess?,
    in namespace: NetworkNamespace, directory: String
  ) throws {
    self.configuration = configuration
    self.port = port
    self.directory = directory
    controlSocket = "\(directory)/\(configuration.name).qmp"
    let isSecure = configuration.firmware == .uefiSecureBoot
    var arguments = [
      "qemu-system-x86_64", "-name", configuration.name, "-machine",
      "q35\(configuration.hasScreen ? "" : ",graphics=off")\(isSecure ? ",smm=on" : "")",
      "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "\(configuration.processors)",
      "-m", "\(configuration.memory)", "-nodefaults", "-display", "none",
      "-vga", configuration.hasScreen ? "std" : "none", "-monitor", "none",
      "-serial", "stdio", "-device", "virtio-rng-pci",
      "-qmp", "unix:\(controlSocket),server=on,wait=off",
    ]
    for (number, (card, tap)) in zip(configuration.otherCards, otherTaps).enumerated() {
      arguments += [
        "-netdev", "tap,id=other\(number),ifname=\(tap),script=no,downscript=no",
        "-device", "virtio-net-pci,netdev=other\(number),mac=\(card.mac),romfile=",
      ]
    }
    // What a port between passes on are whole frames, with their checksums.
    let offload = port == nil ? "" : ",vnet_hdr=off"
    arguments += ["-netdev", "tap,id=net0,ifname=\(tap),script=no,downscript=no\(offload)"]
    var card = "\(configuration.card.rawValue),netdev=net0,mac=\(configuration.mac),bootindex=1"
    switch configuration.firmware {
    case .bios: break
    case .biosUNDI:
      card += ",romfile="
      let script = "\(directory)/\(configuration.name).ipxe"
      try Self.pxeStack.write(toFile: script, atomically: true, encoding: .utf8)
      arguments += ["-kernel", "/usr/lib/ipxe/ipxe.lkrn", "-initrd", script]
    case .uefi, .uefiHTTP, .uefiSecureBoot:
      // Without the ROM's iPXE it is the firmware's own network stack that boots.
      card += ",romfile="
      let variables = "\(directory)/\(configuration.name)-variables.fd"
      try? FileManager.default.removeItem(atPath: variables)
      let keys = isSecure ? ".ms" : ""
      try FileManager.default.copyItem(atPath: "/usr/share/OVMF/OVMF_VARS_4M\(keys).fd", toPath: variables)
      arguments += [
        "-drive", "if=pflash,unit=0,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M\(keys).fd",
        "-drive", "if=pflash,unit=1,format=raw,file=\(variables)",
      ]
    }
    // Only what runs in system management mode may write the variables: else the kernel could switch Secure Boot off.
    if isSecure { arguments += ["-global", "driver=cfi.pflash01,property=secure,value=on"] }
    if configuration.firmware == .uefiHTTP {
      for version in ["4", "6"] {
        arguments += ["-fw_cfg", "name=opt/org.tianocore/IPv\(version)PXESupport,string=no"]
      }
    }
    arguments += ["-device", card]
    if configuration.endsAtReset { arguments.append("-no-reboot") }
    powerOn = .now
    process = try RunningProcess(
      Command(arguments, namespace: namespace), logFile: "\(directory)/\(configuration.name)-console.log",
      takesInput: true)
  }

  /// Makes an iPXE a card's boot ROM that is no iPXE: it names another user class, and runs what it is told to. No
  /// machine here has such a ROM of its own, and what an iPXE runs sees its PXE stack as it would see any.
  private static let pxeStack = """
    #!ipxe
    set user-class firmware
    :again
    dhcp net0 || goto again
    # The loader is given these settings: it is to name itself.
    clear user-class
    chain tftp://${net0/next-server}/${net0/filename} || goto again

    """

  /// What every kernel here is told. QEMU 7.2 sometimes leaves wrong flags behind cmpxchg16b, with which Linux
  /// allocates memory where it can: it then panics in kmalloc. (The processor must keep the instruction: Swift's own
  /// runtime uses it.)
  package static let kernelArguments = "clearcpuid=cx16"

  /// Pulls the cable of the card it boots from, or puts it in again.
  package func setLink(_ isUp: Bool) async throws {
    try await control("set_link", "\"name\": \"net0\", \"up\": \(isUp)")
  }

  /// Types a line at the serial console.
  package func type(_ line: String) throws {
    try process.type(line + "\r")
  }

  /// What a screen in text mode shows, with what has just scrolled off it: the characters of the card's memory, without
  /// line ends.
  package func screen() async throws -> String {
    let file = "\(directory)/\(configuration.name)-screen"
    // VGA's text is at 0xB8000: a byte for the character, one for its colours.
    try await control("pmemsave", "\"val\": \(0xB8000), \"size\": \(0x8000), \"filename\": \"\(file)\"")
    let bytes = try Data(contentsOf: URL(fileURLWithPath: file))
    return String(decoding: stride(from: 0, to: bytes.count, by: 2).map { bytes[$0] }, as: UTF8.self)
  }

  /// Asks QEMU for something (its machine protocol, QMP).
  private func control(_ command: String, _ arguments: String) async throws {
    let talk = """
      $socket = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die "$!";
      <$socket>;
      for (@ARGV[1, 2]) { print $socket "$_\n"; do { $answer = <$socket> // die "gone" } until $answer =~ /"return"|"error"/;
        die $answer if $answer =~ /"error"/ }
      """
    try await Command(
      "perl", "-MIO::Socket::UNIX", "-e", talk, controlSocket, "{ \"execute\": \"qmp_capabilities\" }",
      "{ \"execute\": \"\(command)\", \"arguments\": { \(arguments) } }"
    ).run(timeout: .seconds(60)).check()
  }

  /// Pulls the plug.
  package func powerOff() async {
    await process.kill()
    await port?.kill()
  }
}
