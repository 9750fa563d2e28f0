import Foundation
import TestSupport

/// A root file system tree as small as one can be and still have a kernel with modules.
struct SyntheticTree {
  static let release = "6.6.1-test"
  let directory: TemporaryDirectory

  /// - Parameter mergedUsr: Whether `lib` is a link to `usr/lib`.
  init(release: String = SyntheticTree.release, mergedUsr: Bool = true) throws {
    directory = try TemporaryDirectory()
    let lib = mergedUsr ? "usr/lib" : "lib"
    try directory.run(
      """
      mkdir -p tree/etc tree/usr/bin tree/boot tree/\(lib)/modules/\(release) tree/\(lib)/firmware/acme
      \(mergedUsr ? "ln -s usr/lib tree/lib" : "")
      printf 'ID=acme\\nVERSION_ID="1.2"\\nPRETTY_NAME="Acme 1.2"\\n' >tree/etc/os-release
      printf kernel-image >tree/boot/vmlinuz-\(release)
      printf blob >tree/\(lib)/firmware/acme/card.bin
      printf first >tree/usr/bin/first; ln tree/usr/bin/first tree/usr/bin/second
      find tree -exec touch -h -d '2020-01-01 00:00:00.25 UTC' {} +
      """)
    let modules = "tree/\(lib)/modules/\(release)"
    try module("kernel/drivers/net/ethernet/acme/acme-net.ko", in: modules, firmware: ["acme/card.bin", "acme/none"])
    try module("kernel/drivers/net/phy/libphy.ko", in: modules)
    try module("kernel/lib/acme_core.ko", in: modules)
    try module("kernel/fs/overlayfs/overlay.ko", in: modules)
    try module("kernel/crypto/sum_generic.ko", in: modules)
    try module("kernel/sound/beep.ko", in: modules)
    try directory.write(
      Array(
        """
        kernel/drivers/net/ethernet/acme/acme-net.ko: kernel/drivers/net/phy/libphy.ko kernel/lib/acme_core.ko
        kernel/drivers/net/phy/libphy.ko:
        kernel/lib/acme_core.ko:
        kernel/fs/overlayfs/overlay.ko:
        kernel/crypto/sum_generic.ko:
        kernel/sound/beep.ko: kernel/lib/acme_core.ko

        """.utf8), to: "\(modules)/modules.dep")
    try directory.write(
      Array(
        """
        # Aliases extracted from modules themselves.
        alias pci:v00001AC3d*sv*sd*bc*sc*i* acme_net
        alias pci:v00001AC3d00000002sv*sd*bc*sc*i* beep
        alias crypto-sum sum_generic

        """.utf8), to: "\(modules)/modules.alias")
    try directory.write(
      Array("# Soft dependencies\nsoftdep overlay pre: crypto-sum missing\nsoftdep beep pre: libphy\n".utf8),
      to: "\(modules)/modules.softdep")
    try directory.write(Array("kernel/fs/proc/proc.ko\n".utf8), to: "\(modules)/modules.builtin")
    try directory.write(Self.elf(modinfo: [], machine: 62), to: "busybox")
    try directory.write(Self.elf(modinfo: ["node"], machine: 62), to: "perseid-node")
  }

  var source: String { "\(directory.path)/tree" }

  private func module(_ path: String, in modules: String, firmware: [String] = []) throws {
    try directory.run("mkdir -p $(dirname \(modules)/\(path))")
    let strings = ["license=GPL", "name=\(path)"] + firmware.map { "firmware=\($0)" }
    try directory.write(Self.elf(modinfo: strings, machine: 62), to: "\(modules)/\(path)")
  }

  /// An ELF object with a `.modinfo` section and the section of names.
  static func elf(modinfo: [String], machine: UInt8) -> [UInt8] {
    func little(_ value: Int, _ length: Int) -> [UInt8] {
      (0..<length).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
    }
    func section(name: Int, type: Int, offset: Int, size: Int) -> [UInt8] {
      little(name, 4) + little(type, 4) + little(0, 16) + little(offset, 8) + little(size, 8) + little(0, 24)
    }
    let info: [UInt8] = modinfo.flatMap { (string: String) -> [UInt8] in Array(string.utf8) + [0] }
    let names = Array("\0.modinfo\0.shstrtab\0".utf8)
    let sections = 64 + info.count + names.count
    var bytes: [UInt8] = [0x7F, 0x45, 0x4C, 0x46, 2, 1, 1] + [UInt8](repeating: 0, count: 9)
    bytes += little(1, 2) + little(Int(machine), 2) + little(1, 4) + little(0, 16) + little(sections, 8)
    bytes += little(0, 4) + little(64, 2) + little(0, 4) + little(64, 2) + little(3, 2) + little(2, 2)
    bytes += info + names
    bytes += section(name: 0, type: 0, offset: 0, size: 0)
    bytes += section(name: 1, type: 1, offset: 64, size: info.count)
    bytes += section(name: 10, type: 3, offset: 64 + info.count, size: names.count)
    return bytes
  }
}
