import Capsule
import CapsuleFormat
import Foundation
import TestSupport
import Testing

extension CapsuleBuilderTests {
  /// A `.vnfs` laid out as Perceus's documentation says, of the synthetic tree.
  private func makeVNFS(_ name: String = "acme-1-1.stateless.x86_64.vnfs", below: String = ".") throws -> String {
    try tree.directory.run(
      """
      mkdir -p v/\(below)/nodescripts/init v/\(below)/nodescripts/ready; cd v/\(below)
      cp -a ../\(below == "." ? "" : "../")tree rootfs; mv rootfs/boot/vmlinuz-\(SyntheticTree.release) vmlinuz
      ln rootfs/usr/bin/first beside
      printf '# config\\nKERNEL=vmlinuz-\(SyntheticTree.release)\\nKERNEL_ARGS="quiet  root=/dev/ram0 console=ttyS1"\\n' >config
      printf 'HYBRIDIZE_FILE=/etc/perceus/vnfs/x/hybridize\\n' >>config
      printf '/usr/share\\n/usr/src\\n' >hybridize; printf '^/var\\n' >livesync.skip
      for f in configure mount umount close livesync; do printf '#!/bin/sh\\n# %s\\n' $f >$f; chmod 755 $f; done
      printf 'echo on the node\\n' >nodescripts/ready/10-plain; printf 'echo on the master\\n' >nodescripts/ready/20-run
      chmod 755 nodescripts/ready/20-run; printf 'kexec\\n' >nodescripts/init/90-kexec; printf 'x' >vnfs.img
      cd \(tree.directory.path)/v; tar -cjf ../\(name) .
      """)
    return "\(tree.directory.path)/\(name)"
  }

  @Test(.enabled(if: isInstalled("bzip2")), arguments: [".", "capsule"])
  func `a capsule of Perceus becomes one of ours`(below: String) async throws {
    let source = try makeVNFS(below: below)
    let notes = Notes()
    let capsule = try await CapsuleBuilder(store: store).build(request(source)) { progress in
      if let note = progress.note { notes.add(note) }
    }
    #expect(capsule.config.name == "acme-1-1.stateless.x86_64")
    #expect(capsule.config.kernelArguments == "quiet console=ttyS1")
    #expect(capsule.config.kernelRelease == SyntheticTree.release)
    #expect(try store.read(capsule.kernel.digest, limit: 100) == Array("kernel-image".utf8))
    func bundle(_ type: String) throws -> [String: String] {
      let blob = try #require(capsule.manifest.layer(type))
      let files = try FileBundle(decoding: try store.read(blob.digest, limit: FileBundle.blobLimit)).files
      return Dictionary(
        uniqueKeysWithValues: files.map { ($0.key.description, String(decoding: $0.value.content, as: UTF8.self)) })
    }
    #expect(
      try bundle(MediaType.nodescripts) == [
        "ready/10-plain": "echo on the node\n", "ready/20-run.server": "echo on the master\n",
      ])
    let tools = try bundle(MediaType.tools)
    #expect(tools.keys.sorted() == ["capsule.yaml", "hybridize", "livesync.skip"])
    #expect(tools["hybridize"] == "/usr/share\n/usr/src\n" && tools["livesync.skip"] == "^/var\n")
    let list = try state.run(
      "zstd -dcq <'\(store.path(of: capsule.rootFileSystem.digest))' | tar -tvf - | sed 's/.*:[0-9][0-9] //' | sort")
    let lines = Set(list.split(separator: "\n").map(String.init))
    for path in [
      "etc/perseid/perceus/configure", "etc/perseid/perceus/nodescripts/init/90-kexec", "etc/perseid/perceus/config",
      "boot/vmlinuz-\(SyntheticTree.release)", "usr/bin/first", "usr/bin/second link to usr/bin/first",
    ] { #expect(lines.contains(path), "\(path) in \(list)") }
    #expect(!list.contains("vnfs.img") && !list.contains("rootfs"))
    #expect(notes.all.contains { $0.contains("without being run: configure, mount") && $0.contains("init/90-kexec") })
    #expect(notes.all.contains { $0.contains("root mode overlay") })
  }

  @Test(.enabled(if: isInstalled("bzip2"))) func `one with its packed image alone is refused with the remedy`()
    async throws
  {
    try tree.directory.run("mkdir v; touch v/vnfs.img v/config; tar -C v -cjf old.vnfs .")
    let failure = try #require(await failure("\(tree.directory.path)/old.vnfs"))
    #expect(failure.code == .badSource && failure.description.contains("it has no rootfs"))
  }
}
