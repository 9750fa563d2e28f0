import Foundation
import Lab
import Testing

/// Where capsules come from, with the verbs and with the parts of others.
@Suite struct CapsuleSourceTests {
  /// skopeo pushes an image with a real kernel to docker-registry on loopback, and the import pulls it.
  @Test(.enabled(if: geteuid() == 0, "owners of files take root"), .timeLimit(.minutes(20)))
  func `an image of a registry becomes the capsule that its tree becomes`() async throws {
    let place = try CapsulePlace()
    defer { try? FileManager.default.removeItem(atPath: place.directory) }
    let tree = try Cache.initTree("busybox")
    try await place.shell(
      """
      umoci init --layout image; umoci new --image image:test; umoci unpack --image image:test bundle
      tar -C bundle/rootfs -xpf '\(tree)'; umoci repack --image image:test bundle; rm -rf bundle
      umoci unpack --image image:test bundle; printf second >bundle/rootfs/etc/motd; rm bundle/rootfs/etc/inittab
      umoci repack --image image:test bundle; rm -rf bundle; umoci unpack --image image:test bundle
      """)
    let (registry, port) = try await place.startRegistry()
    try await place.shell(
      "skopeo copy -q oci:image:test docker://127.0.0.1:\(port)/acme/compute:1")
    let pulled = try await place.vnfs("import", "docker://127.0.0.1:\(port)/acme/compute:1", "--name", "pulled")
    #expect(pulled.succeeded, "\(pulled.output)")
    let judged = try await place.vnfs("import", place.directory + "/bundle/rootfs", "--name", "judged")
    #expect(judged.succeeded, "\(judged.output)")
    let own = try await place.vnfs("import", place.directory + "/image", "--name", "pulled")
    #expect(own.succeeded && own.output.contains("generation 1"), "\(own.output)")
    let none = try await place.vnfs("import", "docker://127.0.0.1:\(port)/acme/compute:none")
    #expect(!none.succeeded && none.output.contains("manifest unknown"), "\(none.output)")
    #expect(try await place.digest("pulled") != "")
    #expect(try await place.shell("ls state/tmp") == "")
    _ = await registry.stop()
  }

  /// mmdebstrap makes a tree of a package with a kernel, from a repository in a directory.
  @Test(.enabled(if: geteuid() == 0, "a chroot takes root"), .timeLimit(.minutes(20)))
  func `a recipe becomes a capsule that keeps it, and one that fails leaves nothing`() async throws {
    let place = try CapsulePlace()
    defer { try? FileManager.default.removeItem(atPath: place.directory) }
    let tree = try Cache.initTree("busybox")
    try await place.shell(
      """
      mkdir -p package/DEBIAN repository; tar -C package -xpf '\(tree)'
      printf 'Package: linux-image-test\\nVersion: 1\\nArchitecture: amd64\\nMaintainer: A <a@b.c>\\nDescription: x\\n' \\
        >package/DEBIAN/control
      dpkg-deb -Znone -b package repository/p.deb
      { cat package/DEBIAN/control; echo Filename: ./p.deb; echo Size: $(stat -c %s repository/p.deb)
        echo SHA256: $(sha256sum repository/p.deb | cut -d' ' -f1); } >repository/Packages
      cat >recipe.yaml <<END
      name: made
      base:
        debian: { suite: bookworm, variant: extract, mirrors: "deb [trusted=yes] copy:$PWD/repository ./" }
      packages: linux-image-test
      files: [{ path: /etc/motd, content: made by a recipe }]
      commands: [cat /etc/motd >/etc/issue, "[ -c /dev/null ] && hostname"]
      capsule: { version: "1.0", kernelArgs: quiet }
      END
      sed 's/hostname/false/' recipe.yaml >failing.yaml; sed 's/linux-image-test/none/' recipe.yaml >missing.yaml
      """)
    let made = try await place.vnfs("build", "\(place.directory)/recipe.yaml")
    #expect(made.succeeded && made.output.contains("made, generation 1"), "\(made.output)")
    #expect(made.output.contains("running command 2 of 2"), "\(made.output)")
    let failing = try await place.vnfs("build", "\(place.directory)/failing.yaml")
    #expect(!failing.succeeded && failing.output.contains("Command 2 of the recipe failed"), "\(failing.output)")
    let missing = try await place.vnfs("build", "\(place.directory)/missing.yaml")
    #expect(!missing.succeeded, "\(missing.output)")
    #expect(missing.output.contains("Making the Debian tree failed (mmdebstrap)"), "\(missing.output)")
    #expect(missing.output.contains("Unable to locate package none"), "\(missing.output)")
    #expect(try await place.shell("ls state/tmp; ! grep '\(place.directory)' /proc/self/mounts") == "")
  }
}
