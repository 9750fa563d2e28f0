import Capsule
import CapsuleFormat
import ConfigurationFile
import Foundation
import TestSupport
import Testing

@Suite struct CapsuleSettingsTests {
  static let everything = """
    name: acme-compute
    version: "2.1"
    architecture: amd64
    kernel: 6.6.1-test
    kernelArgs: [quiet, crashkernel=256M]
    modules: { add: beep, omit: [acme-net] }
    firmware:
      add: [extra, single.bin]
      omit: acme
    root: { modes: [ram, overlay], default: overlay }
    nodescripts: /opt/acme/scripts
    hooks: { configure: /opt/acme/setup }
    hookSeconds: 60
    livesync: { skip: [/etc/fstab, /var/log/*] }

    """

  @Test func `everything in the file is read`() throws {
    let settings = try CapsuleSettings.parse(yaml: Self.everything, file: "f")
    #expect(settings.name == "acme-compute" && settings.version == "2.1" && settings.architecture == "amd64")
    #expect(settings.kernel == "6.6.1-test" && settings.kernelArguments == "quiet crashkernel=256M")
    #expect(settings.modules == .init(add: ["beep"], omit: ["acme-net"]))
    #expect(settings.firmware == .init(add: ["extra", "single.bin"], omit: ["acme"]))
    #expect(settings.rootModes == [.overlay, .ram])
    #expect(settings.nodescripts == "opt/acme/scripts" && settings.hooks == [.configure: "opt/acme/setup"])
    #expect(settings.livesyncSkip == ["/etc/fstab", "/var/log/*"])
    #expect(settings.hookSeconds == 60 && CapsuleSettings().hookSeconds == 3600)
    #expect(try CapsuleSettings.parse(yaml: "", file: "f") == CapsuleSettings())
    #expect(try CapsuleSettings.parse(yaml: "kernelArgs: a  b", file: "f").kernelArguments == "a b")
    #expect(try CapsuleSettings.parse(yaml: "root: { default: overlay }", file: "f").rootModes == [.overlay, .ram])
    #expect(try CapsuleSettings.parse(yaml: "root: { modes: ram }", file: "f").rootModes == [.ram])
  }

  @Test(
    arguments: [
      ("colour: red", 1, "colour", "there is no such key; the keys here are name, version"),
      ("\nname: Acme", 2, "name", "found 'Acme', allowed is at most 64 of a-z"),
      ("name: [a]", 1, "name", "found a list"),
      ("kernelArgs: perseid.boot=x", 1, "kernelArgs", "none of those that are the appliance's own"),
      ("kernelArgs: \"a\\nb\"", 1, "kernelArgs", "allowed is words for the kernel command line"),
      ("modules: all", 1, "modules", "found 'all', allowed is a mapping with the keys add, omit"),
      ("modules:\n  drop: [a]", 2, "modules.drop", "there is no such key"),
      ("firmware: { add: ../x }", 1, "firmware.add", "found '../x'"),
      ("root: { modes: disk }", 1, "root.modes", "found 'disk', allowed is one of ram, overlay"),
      ("root: { modes: ram, default: overlay }", 1, "root.default", "allowed is one of those under modes"),
      ("hooks:\n  configure: bin/x", 2, "hooks.configure", "an absolute path in the tree"),
      ("hooks:\n  start: /x", 2, "hooks.start", "configure, mount, umount, close, livesync"),
      ("livesync: { skip: etc }", 1, "livesync.skip", "found 'etc', allowed is an absolute path in the tree"),
      ("hookSeconds: 0", 1, "hookSeconds", "found '0'"),
      ("name: a\nname: b", 1, "name", "found twice"),
      ("name: [", 2, nil, "it is not YAML"),
      ("- a", 1, nil, "found a list, allowed is a mapping"),
    ] as [(String, Int, String?, String)])
  func `what is wrong is said with key, line, what was found and what is allowed`(
    yaml: String, line: Int, key: String?, words: String
  ) throws {
    do {
      _ = try CapsuleSettings.parse(yaml: yaml, file: "f")
      Issue.record("\(yaml) was taken")
    } catch let error as ConfigurationError {
      #expect(error.line == line && error.key == key, "\(error)")
      #expect(error.description.contains(words), "\(error)")
    }
  }
}

extension CapsuleBuilderTests {
  func settings(_ yaml: String) throws {
    try tree.directory.run("mkdir -p tree/etc/perseid")
    try tree.directory.write(Array(yaml.utf8), to: "tree/etc/perseid/capsule.yaml")
  }

  @Test func `a tree's capsule file names the capsule and chooses what is in it`() async throws {
    try settings(CapsuleSettingsTests.everything)
    try tree.directory.run(
      """
      mkdir -p tree/opt/acme/scripts/ready tree/opt/acme/scripts/init tree/usr/lib/firmware/extra/deep tree/etc/perseid/hooks
      echo ready >tree/opt/acme/scripts/ready/10-x.server; echo no >tree/opt/acme/scripts/ready/README
      echo init >tree/opt/acme/scripts/init/20-y; echo setup >tree/opt/acme/setup; echo mount >tree/etc/perseid/hooks/mount
      echo 'proc' >tree/etc/perseid/livesync.skip
      printf one >tree/usr/lib/firmware/extra/deep/one; xz tree/usr/lib/firmware/extra/deep/one
      printf two >tree/usr/lib/firmware/extra/two; zstd -q --rm tree/usr/lib/firmware/extra/two
      printf three >tree/usr/lib/firmware/single.bin; printf four >tree/usr/lib/firmware/unasked.bin
      """)
    let notes = Notes()
    let capsule = try await CapsuleBuilder(store: store).build(request()) { progress in
      if let note = progress.note { notes.add(note) }
    }
    #expect(capsule.config.name == "acme-compute" && capsule.config.version == "2.1")
    #expect(capsule.config.kernelArguments == "quiet crashkernel=256M")
    #expect(capsule.config.rootModes == ["overlay", "ram"])
    #expect(capsule.manifest.annotations == ["org.opencontainers.image.version": "2.1"])
    let initramfs = try image(capsule.initramfs)
    let names = initramfs.map { $0.path.split(separator: "/").last.map(String.init) ?? "" }
    #expect(names.contains("beep.ko") && !names.contains("acme-net.ko") && names.contains("overlay.ko"))
    let firmware = initramfs.filter { $0.path.hasPrefix("lib/firmware/") && $0.mode & 0o170000 == 0o100000 }
    #expect(
      firmware.map(\.path).sorted() == ["deep/one", "two"].map { "lib/firmware/extra/" + $0 } + [
        "lib/firmware/single.bin"
      ])
    #expect(firmware.first { $0.path.hasSuffix("one") }.map { Array($0.content) } == Array("one".utf8))
    #expect(firmware.first { $0.path.hasSuffix("two") }.map { Array($0.content) } == Array("two".utf8))

    func bundle(_ type: String) throws -> [String: String] {
      let blob = try #require(capsule.manifest.layer(type))
      let files = try FileBundle(decoding: try store.read(blob.digest, limit: FileBundle.blobLimit)).files
      return Dictionary(
        uniqueKeysWithValues: files.map { ($0.key.description, String(decoding: $0.value.content, as: UTF8.self)) })
    }
    #expect(try bundle(MediaType.nodescripts) == ["init/20-y": "init\n", "ready/10-x.server": "ready\n"])
    #expect(
      try bundle(MediaType.tools) == [
        "capsule.yaml": CapsuleSettingsTests.everything, "livesync.skip": "proc\n", "hooks/configure": "setup\n",
        "hooks/mount": "mount\n",
      ])
    #expect(
      notes.all == ["/opt/acme/scripts/ready/README is left out: it is not a nodescript (NN-name, or NN-name.server)"])
    #expect(try await build().digest == capsule.digest)
    #expect(try await build(name: "other").config.name == "other")
  }

  @Test(arguments: [
    ("kernel: 1.2.3", "kernel: found '1.2.3', allowed is one of 6.6.1-test"),
    ("\nmodules: { add: nothing }", "line 2: modules: found 'nothing', which is no module of the kernel 6.6.1-test"),
    ("firmware: { add: nothing }", "firmware: found 'nothing', which is not below /lib/firmware"),
    ("architecture: arm64", "architecture: found 'arm64', and the modules of 6.6.1-test are for amd64"),
    ("hooks: { close: /bin/none }", "hooks.close: there is no file /bin/none in the tree"),
    ("nodescripts: /none", "nodescripts: there is no directory /none in the tree"),
    ("name: A B", "name: found 'A B'"),
  ])
  func `what the tree does not have is refused with the line of the capsule file`(yaml: String, words: String)
    async throws
  {
    try settings(yaml)
    let failure = try #require(await failure())
    #expect(failure.code == .badSettings && failure.description.contains(words), "\(failure)")
    #expect(failure.description.contains("/etc/perseid/capsule.yaml"))
    #expect(try files == [])
  }

  @Test func `of several kernels the one that the capsule file names is taken`() async throws {
    try tree.directory.run(
      "cp -a tree/usr/lib/modules/\(SyntheticTree.release) tree/usr/lib/modules/6.10.0-test; "
        + "printf newer >tree/usr/lib/modules/6.10.0-test/vmlinuz")
    try settings("kernel: \(SyntheticTree.release)")
    #expect(try await build().config.kernelRelease == SyntheticTree.release)
  }

  @Test(.enabled(if: isInstalled("cpio")))
  func `microcode of the tree stands in front, uncompressed, where the kernel looks for it`() async throws {
    let plain = try await build()
    try tree.directory.run(
      """
      mkdir -p tree/usr/lib/firmware/intel-ucode tree/usr/lib/firmware/amd-ucode
      printf b >tree/usr/lib/firmware/intel-ucode/06-0b-00; printf a >tree/usr/lib/firmware/intel-ucode/06-0a-00
      printf amd >tree/usr/lib/firmware/amd-ucode/microcode_amd.bin; xz tree/usr/lib/firmware/amd-ucode/microcode_amd.bin
      printf not >tree/usr/lib/firmware/amd-ucode/microcode_amd.bin.asc
      """)
    let capsule = try await build()
    let (blob, rest) = try (
      store.read(capsule.initramfs.digest, limit: 1 << 24), store.read(plain.initramfs.digest, limit: 1 << 24)
    )
    // What was there before stands behind it as it was, at a multiple of four bytes.
    #expect(blob.suffix(rest.count).elementsEqual(rest) && blob.count.isMultiple(of: 4))
    let entries = try CPIOEntry.read(Array(blob.dropLast(rest.count)))
    let files = entries.filter { $0.mode & 0o170000 == 0o100000 }
    #expect(files.map(\.path) == ["kernel/x86/microcode/AuthenticAMD.bin", "kernel/x86/microcode/GenuineIntel.bin"])
    #expect(files.map { String(decoding: $0.content, as: UTF8.self) } == ["amd", "ab"])
    #expect(files.allSatisfy { $0.content.startIndex.isMultiple(of: 16) })
    // cpio reads the first image and stops at its end.
    try state.run("cpio -itv --quiet <'\(store.path(of: capsule.initramfs.digest))' >list")
    let listing = String(decoding: try state.read("list"), as: UTF8.self)
    #expect(listing.contains("kernel/x86/microcode/GenuineIntel.bin") && listing.split(separator: "\n").count == 5)
  }
}
