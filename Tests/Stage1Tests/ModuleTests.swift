import Glibc
import Stage1
import StateClient
import Testing

@Suite("Kernel modules")
struct ModuleTests {
  let index = ModuleIndex(
    dependencies: Array(
      """
      kernel/drivers/net/virtio_net.ko: kernel/net/core/failover.ko kernel/drivers/net/net-failover.ko
      kernel/drivers/net/net-failover.ko: kernel/net/core/failover.ko
      kernel/net/core/failover.ko:
      kernel/drivers/net/e1000e.ko.xz:
      kernel/fs/a.ko: kernel/fs/b.ko
      kernel/fs/b.ko: kernel/fs/a.ko
      kernel/crypto/crc.ko:
      """.utf8),
    aliases: Array(
      """
      # Aliases extracted from modules themselves.
      alias virtio:d00000001v* virtio_net
      alias pci:v00008086d000010D3sv*sd*bc*sc*i* e1000e
      alias pci:v*d*sv*sd*bc02sc00i* generic_net
      alias net-pf-17 af_packet
      alias crc32 crc
      """.utf8),
    builtIn: Array("kernel/drivers/virtio/virtio_pci.ko\nkernel/net/packet/af_packet.ko\n".utf8),
    softDependencies: Array("softdep virtio_net pre: crc32c crc post: e1000e\n".utf8))

  @Test(
    "a modalias is matched as fnmatch does it",
    arguments: [
      ("pci:v00008086d*", "pci:v00008086d000010D3sv0", true), ("pci:*bc02*", "pci:v1bc0200", true),
      ("a*b*c", "aXbYbZc", true), ("a*b*c", "aXbYbZ", false), ("a?c", "abc", true), ("a?c", "ac", false),
      ("usb:v04[0-9A-F]*", "usb:v04Bd", true), ("usb:v04[0-9A-F]*", "usb:v04gd", false), ("[!a]x", "bx", true),
      ("[!a]x", "ax", false), ("[]]", "]", true), ("[a", "[a", true), ("", "", true), ("*", "", true), ("a", "", false),
      ("dmi*:svnX:*", "dmi:bvn1:svnX:pn", true),
    ])
  func matches(pattern: String, text: String, expected: Bool) {
    #expect(AliasPattern.matches(Array(pattern.utf8)[...], Array(text.utf8)[...]) == expected)
    // The C library is the judge.
    #expect((fnmatch(pattern, text, 0) == 0) == expected)
  }

  @Test("every module for a device is found, each once")
  func findsModules() {
    #expect(index.modules(for: "virtio:d00000001v00001AF4") == [ModuleName("virtio_net")])
    #expect(
      index.modules(for: "pci:v00008086d000010D3sv00001AF4sd00001100bc02sc00i00")
        == [ModuleName("e1000e"), ModuleName("generic_net")])
    #expect(index.modules(for: "virtio:d00000002v00001AF4").isEmpty)
    #expect(index.modules(for: "").isEmpty)
  }

  @Test("a module comes after all it needs, soft dependencies included, and circles end")
  func ordersClosure() {
    let order = index.closure(of: ModuleName("virtio-net")).map(\.description)
    #expect(order == ["crc", "failover", "net_failover", "virtio_net", "e1000e"])
    #expect(Set(index.closure(of: ModuleName("a")).map(\.description)) == ["a", "b"])
    #expect(index.closure(of: ModuleName("virtio_pci")).isEmpty)
    #expect(index.file(of: ModuleName("e1000e")) == "kernel/drivers/net/e1000e.ko.xz")
  }

  @Test("names and aliases stand for modules; what is built in needs no loading")
  func resolvesNames() {
    #expect(index.modules(named: "crc32") == [ModuleName("crc")])
    #expect(index.modules(named: "af_packet") == [ModuleName("af_packet")])
    #expect(index.modules(named: "unknown").isEmpty)
  }

  /// Records what would be loaded, in place of the kernel, which has no room for a test's modules.
  final class Recorder: ModuleInserter, Sendable {
    let files = Monitor([String]())
    let refusals: [String: CInt]

    init(refusals: [String: CInt] = [:]) { self.refusals = refusals }

    func insert(file: String, parameters: String) throws(SystemError) {
      files.update { $0.append(parameters.isEmpty ? file : "\(file) \(parameters)") }
      for (name, code) in refusals where file.contains(name) { throw SystemError("load \(file)", code: code) }
    }
  }

  @Test("devices are looked for again until no new one appears")
  func coldplugs() {
    let recorder = Recorder()
    var loader = ModuleLoader(
      index: index, directory: "/m", commandLine: KernelCommandLine("e1000e.debug=1"), inserter: recorder)
    var rounds = [
      ["pci:v00008086d000010D3sv0sd0bc02sc00i00"],
      ["pci:v00008086d000010D3sv0sd0bc02sc00i00", "virtio:d00000001v00001AF4"],
    ]
    loader.coldplug { rounds.count > 1 ? rounds.removeFirst() : rounds[0] }
    #expect(
      recorder.files.update { $0 } == [
        "/m/kernel/drivers/net/e1000e.ko.xz debug=1", "/m/kernel/crypto/crc.ko", "/m/kernel/net/core/failover.ko",
        "/m/kernel/drivers/net/net-failover.ko", "/m/kernel/drivers/net/virtio_net.ko",
      ])
    #expect(loader.failures.isEmpty)
  }

  @Test("a module that is there already is no failure, one that is refused is told, a blacklisted one is left out")
  func tellsFailures() {
    let recorder = Recorder(refusals: ["failover.ko": EEXIST, "virtio_net": EINVAL])
    var loader = ModuleLoader(
      index: index, directory: "/m", commandLine: KernelCommandLine("module_blacklist=crc"), inserter: recorder)
    loader.load(named: "virtio_net")
    #expect(loader.failures == ["virtio_net: load /m/kernel/drivers/net/virtio_net.ko: Invalid argument"])
    #expect(!recorder.files.update { $0 }.contains { $0.contains("crc") })
  }
}
