import CapsuleFormat
import DHCP
import NetworkTypes
import TFTP
import Testing

@testable import Provisioner

@Suite("Boot chains beside iPXE's")
struct BootChainTests {
  private static let server = IPv4Address(10, 0, 0, 1)
  private static let client = IPv4Address(10, 0, 0, 21)
  private static let dashed = "52-54-00-00-00-01"

  private func prepared(_ boot: String = "grub") async throws -> Appliance {
    let appliance = try await makeAppliance(try TestDirectory())
    _ = try await appliance.registerCapsule("debian-12", digest: try makeCapsule("debian-12", in: appliance.content))
    _ = try await appliance.addNode(AddNode(mac: mac(1).description))
    _ = try await appliance.setNodes(["n0000"], key: "boot", value: boot)
    return appliance
  }

  /// What TFTP sends under a name; `nil` where there is nothing.
  private func file(_ appliance: Appliance, _ name: String, for client: IPv4Address = client) async -> String? {
    guard case .content(let content) = await appliance.bootContent.content(named: name, for: client, at: Self.server)
    else { return nil }
    return String(decoding: bytes(content), as: UTF8.self)
  }

  private func transfer(_ kind: TransferEvent.Kind, _ name: String) -> TransferEvent {
    TransferEvent(
      kind: kind, name: name, client: Self.client, bytes: 0, seconds: 0, retransmissions: 0, blockSize: 1024,
      windowSize: 1)
  }

  @Test(
    "Each method gives the first file of its chain to the firmware that can run it, and iPXE to the rest in words",
    arguments: [
      (BootMethod.grub, ClientDescription.Speaker.pxeFirmware, [UInt16(7)], "shimx64.efi", nil as String?),
      (.grub, .pxeFirmware, [9], "shimx64.efi", nil), (.grub, .ipxe, [7], "shimx64.efi", nil),
      (.grub, .pxeFirmware, [0], "undionly.kpxe", "shim and GRUB are for UEFI"),
      (.grub, .ipxe, [0], "/ipxe?mac=", "shim and GRUB are for UEFI"),
      (.grub, .httpFirmware, [16], "/loader/snponly.efi", "must boot by PXE"),
      (.pxelinux, .pxeFirmware, [0], "pxelinux.0", nil), (.pxelinux, .pxeFirmware, [], "pxelinux.0", nil),
      (.pxelinux, .ipxe, [0], "pxelinux.0", nil),
      (.pxelinux, .pxeFirmware, [7], "snponly.efi", "pxelinux is for BIOS"),
      (.pxelinux, .ipxe, [7], "/ipxe?mac=", "pxelinux is for BIOS"),
      (.pxelinux, .httpFirmware, [16], "/loader/snponly.efi", "must boot by PXE"),
      (.ipxe, .pxeFirmware, [7], "snponly.efi", nil), (.ipxe, .ipxe, [0], "/ipxe?mac=", nil),
    ])
  func policy(
    method: BootMethod, speaker: ClientDescription.Speaker, architectures: [UInt16], file: String, although: String?
  ) {
    var node = Node(name: "n0001", macs: [mac(1)], created: Timestamp(milliseconds: 0))
    node.settings.boot = method
    let answer = BootPolicy.answer(
      BootPolicy.Machine(
        mac: mac(1), speaker: speaker, architectures: architectures, server: Self.server, port: 9870),
      node: EffectiveNode(node, defaults: NodeDefaults()) { _ in nil }, vnfs: "debian-12", generation: nil)
    #expect(answer.bootFile?.contains(file) == true, "\(answer)")
    #expect(answer.reason.contains("although") == (although != nil), "\(answer.reason)")
    if let although { #expect(answer.reason.contains(although), "\(answer.reason)") }
  }

  @Test("A method that cannot be had is no reason for a loader where there is none")
  func noLoader() {
    var node = Node(name: "n0001", macs: [mac(1)], created: Timestamp(milliseconds: 0))
    node.settings.boot = .grub
    let machine = BootPolicy.Machine(
      mac: mac(1), speaker: .pxeFirmware, architectures: [11], server: Self.server, port: 9870)
    let answer = BootPolicy.answer(
      machine, node: EffectiveNode(node, defaults: NodeDefaults()) { _ in nil }, vnfs: "debian-12", generation: nil)
    #expect(answer.bootFile == nil && answer.reason.contains("64-bit ARM"))
  }

  @Test(
    "Names that loaders ask for are known in every spelling that firmware gives them",
    arguments: [
      ("shimx64.efi", BootFileName.loader("shimx64.efi")), ("/grubx64.efi", .loader("grubx64.efi")),
      ("\\GRUBX64.EFI", .loader("grubx64.efi")), ("b/abc/kernel", .kernel(boot: "abc")),
      ("//b//ABC//initramfs\u{FFFD}", .initramfs(boot: "abc")),
      ("/grub/grub.cfg", .script(.grub, nil, isAgain: false)),
      ("/grub/grub.cfg-01-52-54-00-00-00-01", .script(.grub, mac(1), isAgain: false)),
      ("/grub/again-01-52-54-00-00-00-01", .script(.grub, mac(1), isAgain: true)),
      ("pxelinux.cfg/01-52-54-00-00-00-01", .script(.pxelinux, mac(1), isAgain: false)),
      ("pxelinux.cfg/again-01-52-54-00-00-00-01", .script(.pxelinux, mac(1), isAgain: true)),
      ("pxelinux.cfg/default", .script(.pxelinux, nil, isAgain: false)),
      ("/grub/grub.cfg-0A00", .optional), ("/grub/grub.cfg-01-ff-ff-ff-ff-ff-ff", .optional),
      ("/grub/x86_64-efi/command.lst", .optional), ("/grub/x86_64-efi/grub.cfg", .optional),
      ("pxelinux.cfg/0A000015", .optional), ("pxelinux.cfg/12345678-1234-1234-1234-123456789abc", .optional),
      ("revocations_sbat.efi", .optional), ("shim_certificate_0.efi", .optional),
      ("b/abc/other", nil), ("b/abc/failed-", nil), ("b/abc/refused-grub", nil), ("etc/passwd", nil), ("", nil),
    ] as [(String, BootFileName?)])
  func names(text: String, name: BootFileName?) {
    #expect(BootFileName(text) == name)
  }

  @Test("GRUB's configuration starts the boot's own kernel, and asks again when that does not work")
  func grub() async throws {
    let appliance = try await prepared()
    _ = try await appliance.setNodes(["n0000"], key: "kernelArgs", value: "dyndbg=\"file a +p\" it's")
    let text = try #require(await file(appliance, "/grub/grub.cfg-01-\(Self.dashed)"))
    let boot = try #require(appliance.registry.read { $0.lastBoot(of: "n0000") })
    let files = "(tftp,10.0.0.1)/b/\(boot.id)"
    for words in [
      "if linux \(files)/kernel 'perseid.server=10.0.0.1:9870' 'perseid.boot=\(boot.id)' 'BOOTIF=01-\(Self.dashed)' "
        + "'panic=30' 'console=tty0' 'console=ttyS0,115200' 'quiet' 'dyndbg=file a +p' 'it'\\''s'; then\n",
      "if initrd \(files)/initramfs; then\n", "source \(files)/$how-$part\n", "while true; do\n",
      "source (tftp,10.0.0.1)/grub/again-01-\(Self.dashed)\n",
    ] { #expect(text.contains(words), "\(text)") }
    // GRUB gives the kernel its initramfs itself: a name would send the kernel looking for a file.
    #expect(!text.contains("initrd="))
    let again = try #require(await file(appliance, "/grub/again-01-\(Self.dashed)"))
    #expect(again.contains("\(files)/kernel") && !again.contains("while"))
    #expect(await file(appliance, "/b/\(boot.id)/kernel")?.contains("6.1.0-test") == true)
    #expect(try await appliance.nodeTimeline("n0000").filter { $0.event == "script" }.map(\.source) == [.tftp, .tftp])
    try await appliance.close()
  }

  @Test("pxelinux's configuration starts the boot's own kernel, and asks again when that does not work")
  func pxelinux() async throws {
    let appliance = try await prepared("pxelinux")
    let text = try #require(await file(appliance, "pxelinux.cfg/01-\(Self.dashed)"))
    let boot = try #require(appliance.registry.read { $0.lastBoot(of: "n0000") })
    for words in [
      "  LINUX b/\(boot.id)/kernel\n  INITRD b/\(boot.id)/initramfs\n",
      "  APPEND perseid.server=10.0.0.1:9870 perseid.boot=\(boot.id) BOOTIF=01-\(Self.dashed) panic=30 console=tty0 ",
      "ONTIMEOUT again\n", "  CONFIG pxelinux.cfg/again-01-\(Self.dashed)\n",
    ] { #expect(text.contains(words), "\(text)") }
    try await appliance.close()
  }

  @Test("A machine that does not name its card is known by its address, one that is not known gets nothing")
  func byAddress() async throws {
    let appliance = try await prepared()
    #expect(await file(appliance, "/grub/grub.cfg") == nil && appliance.registry.read { $0.boots.isEmpty })
    appliance.ledger.remember(mac(1), at: Self.client)
    #expect(await file(appliance, "/grub/grub.cfg")?.contains("this is n0000") == true)
    #expect(await file(appliance, "pxelinux.cfg/default")?.contains("this is n0000") == true)
    #expect(await file(appliance, "/grub/grub.cfg", for: IPv4Address(10, 0, 0, 22)) == nil)
    try await appliance.close()
  }

  @Test("A new machine becomes a node when it asks, and its ladder of other names opens nothing")
  func discovery() async throws {
    let appliance = try await prepared()
    for name in ["pxelinux.cfg/0A000015", "pxelinux.cfg/0A", "/grub/grub.cfg-0A000015"] {
      #expect(await file(appliance, name) == nil)
    }
    #expect(try appliance.nodes([]).map(\.name) == ["n0000"])
    #expect(await file(appliance, "pxelinux.cfg/01-52-54-00-00-00-02")?.contains("this is n0001") == true)
    #expect(try appliance.nodes([]).map(\.name) == ["n0000", "n0001"])
    try await appliance.close()
  }

  @Test("Loading over TFTP moves a boot on, so that another generation is another boot")
  func phase() async throws {
    let appliance = try await prepared()
    _ = await file(appliance, "/grub/grub.cfg-01-\(Self.dashed)")
    let first = try #require(appliance.registry.read { $0.lastBoot(of: "n0000") })
    #expect(appliance.ledger.phase(of: mac(1)) == .script)
    appliance.observer.observed(transfer(.started, "/b/\(first.id)/kernel"))
    #expect(appliance.ledger.phase(of: mac(1)) == .loading)
    let digest = try makeCapsule("debian-12", kernel: "6.9", in: appliance.content)
    _ = try await appliance.registerCapsule("debian-12", digest: digest)
    #expect(await file(appliance, "/b/\(first.id)/kernel")?.contains("6.1.0-test") == true)
    _ = await file(appliance, "/grub/grub.cfg-01-\(Self.dashed)")
    let second = try #require(appliance.registry.read { $0.lastBoot(of: "n0000") })
    #expect(second.id != first.id && second.digest == digest)
    try await appliance.close()
  }

  @Test("What GRUB could not load is in the timeline, in words")
  func failures() async throws {
    let appliance = try await prepared()
    _ = await file(appliance, "/grub/grub.cfg-01-\(Self.dashed)")
    let boot = try #require(appliance.registry.read { $0.lastBoot(of: "n0000") })
    for (name, event, words) in [
      ("refused-kernel", "kernel refused", "Secure Boot"), ("failed-kernel", "kernel failed", "load the kernel"),
      ("failed-initramfs", "initramfs failed", "load the initramfs"), ("refused-start", "start failed", "start"),
    ] {
      let text = try #require(await file(appliance, "/b/\(boot.id)/\(name)"))
      // It runs what it gets.
      #expect(text.hasPrefix("echo 'Perseid: ") && text.filter { $0 == "'" }.count == 2)
      appliance.observer.observed(transfer(.started, "/b/\(boot.id)/\(name)"))
      let last = try #require(try await appliance.nodeTimeline("n0000").last)
      #expect(last.event == event && last.detail.contains(words) && last.boot == boot.id)
    }
    #expect(await file(appliance, "/b/none/failed-kernel") == nil)
    try await appliance.close()
  }

  @Test("Where there is nothing to boot, both loaders say why, and wait or go on")
  func nothing() async throws {
    let appliance = try await makeAppliance(try TestDirectory())
    let names = ["/grub/grub.cfg-01-\(Self.dashed)", "pxelinux.cfg/01-\(Self.dashed)"]
    for (name, words) in zip(names, ["sleep 1", "PROMPT 1\nTIMEOUT 1"]) {
      let text = try #require(await file(appliance, name))
      #expect(text.contains("capsule debian-12 of n0000 is not there") && text.contains(words), "\(text)")
    }
    _ = try await appliance.setNodes(["n0000"], key: "enabled", value: "false")
    for (name, words) in zip(names, ["\nexit\n", "LOCALBOOT -1"]) {
      let text = try #require(await file(appliance, name))
      #expect(text.contains("n0000 is disabled") && text.contains(words) && !text.contains("/kernel"), "\(text)")
    }
    try await appliance.close()
  }
}
