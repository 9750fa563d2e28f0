import Foundation
import Lab
import Testing

/// Trees that the real dnf makes, of a little distribution that the real rpmbuild and createrepo_c make.
@Suite(.enabled(if: geteuid() == 0, "a chroot takes root"), .timeLimit(.minutes(20)), .serialized)
struct RPMBuildTests {
  /// The repositories are in `distribution` of the place, and the recipe beside it.
  private func makePlace() async throws -> CapsulePlace {
    let place = try CapsulePlace()
    let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().path + "/../Lab/rpm-repositories"
    try await place.shell("'\(script)' distribution '\(try Cache.debianTree("trixie"))'")
    return place
  }

  private func recipe(
    _ place: CapsulePlace, _ name: String, repos: [String] = ["base"], keys: String = "keys: distribution/key.asc",
    packages: String = "filesystem, busybox, kernel-core, scripted, capable", more: String = ""
  ) throws -> String {
    let repos = repos.map { $0.contains("://") ? $0 : "file://\(place.directory)/distribution/\($0)" }
    let path = "\(place.directory)/\(name).yaml"
    try """
    name: \(name)
    base:
      rpm: { release: "9", repos: [\(repos.joined(separator: ", "))], \(keys) }
    packages: [\(packages)]
    \(more)

    """.write(toFile: path, atomically: true, encoding: .utf8)
    return path
  }

  @Test func `dnf makes the tree of an RPM recipe, with its scripts run in it and nothing of the host in it`()
    async throws
  {
    let place = try await makePlace()
    defer { try? FileManager.default.removeItem(atPath: place.directory) }
    let server = try RunningProcess(
      Command(
        "python3", "-u", "-m", "http.server", "--bind", "127.0.0.1", "--directory", place.directory + "/distribution",
        "0"))
    let port = try await server.log.line(containing: "Serving HTTP on", within: .seconds(120))
      .split(separator: " port ").last?.prefix { $0.isNumber }
    let base = "http://127.0.0.1:\(try #require(port))/base"
    let path = try recipe(
      place, "acme", repos: [base],
      more: """
        files: [{ path: /etc/motd, content: made by a recipe }]
        commands: [cat /etc/motd /etc/scripted.posttrans >/etc/issue]
        """)
    // Whatever is written on the host outside of the state directory comes to light in the upper layers of overlays;
    // and a repository of the host's that cannot be reached would end the build.
    let made = try await Command(
      [
        "unshare", "--mount", "--propagation", "private", "sh", "-euc",
        """
        mount -t tmpfs layers /mnt
        for directory in etc usr var root opt; do
          mkdir -p /mnt/$directory/upper /mnt/$directory/work
          mount -t overlay -o lowerdir=/$directory,upperdir=/mnt/$directory/upper,workdir=/mnt/$directory/work \\
            overlay /$directory
        done
        mkdir -p /etc/yum.repos.d
        printf '[host]\\nname=host\\nbaseurl=http://127.0.0.1:1/\\nenabled=1\\n' >/etc/yum.repos.d/host.repo
        printf '%%_dbpath /root/elsewhere\\n' >/root/.rpmmacros
        "$@"
        find /mnt/*/upper ! -type d | sed 's/^/written: /'
        """, "sh", Appliance.executable, "--config", place.configuration, "vnfs", "build", path,
      ], environment: ["HOME": "/root"]
    ).run(timeout: .seconds(600))
    let output = made.output + made.errors
    #expect(made.succeeded && output.contains("acme, generation 1"), "\(output)")
    let written = output.split(separator: "\n").filter { $0.hasPrefix("written: ") }.sorted()
    #expect(written == ["written: /mnt/etc/upper/yum.repos.d/host.repo", "written: /mnt/root/upper/.rpmmacros"])
    _ = await server.stop()

    let mounted = try await place.vnfs("mount", "acme")
    #expect(mounted.succeeded, "\(mounted.output)")
    let tree = "state/mounts/acme"
    #expect(
      try await place.shell("cat \(tree)/etc/issue; ls \(tree)/lib/modules/*/vmlinuz >/dev/null")
        == "made by a recipepost 0 1\n")
    #expect(
      try await place.shell("stat -c '%u:%g %a' \(tree)/usr/bin/odd; getcap \(tree)/usr/bin/capable | sed 's/.* //'")
        == "0:12 4750\ncap_net_raw=ep\n")
    #expect(
      try await place.shell("readlink \(tree)/bin; stat -c %a \(tree)/root \(tree)/tmp") == "usr/bin\n550\n1777\n")
    #expect(
      try await place.shell(
        "cd \(tree); find dev proc sys run tmp var/log var/lib root -mindepth 1; find . -name '*dnf*' ! -path './etc/*'"
      )
        == "")
    #expect(
      try await place.shell(
        "rpm --root $PWD/\(tree) --dbpath /usr/lib/sysimage/rpm -qa --qf '%{NAME}\\n' | grep -v gpg-pubkey | sort | paste -s -d,"
      )
        == "busybox,capable,filesystem,kernel-core,scripted\n")
    #expect(
      try await place.shell("cat \(tree)/etc/perseid/recipe.yaml") == String(contentsOfFile: path, encoding: .utf8))
    #expect(try await place.vnfs("close", "acme", "--yes").succeeded)

    // The kernel's modules are compressed with xz in the tree, and nobody has run depmod there.
    let initramfs = try await place.blob("acme", ofType: "application/vnd.perseid.capsule.initramfs.v1")
    try await place.shell("mkdir initramfs; zstd -dcq '\(initramfs)' | (cd initramfs; cpio -id --quiet)")
    #expect(
      try await place.shell(
        """
        cd initramfs/lib/modules/*; find . -name '*.ko.*' -o -name '*.ko' -size 0
        find . -name virtio_net.ko -exec file -b {} + | cut -d, -f1; grep virtio_net.ko: modules.dep
        """)
        == "ELF 64-bit LSB relocatable\nkernel/drivers/net/virtio_net.ko: kernel/drivers/net/net_failover.ko "
        + "kernel/net/core/failover.ko\n")

    // A newer package, and one that has the database of packages in another place.
    let newer = try recipe(
      place, "acme", repos: ["base", "updates"],
      packages: "filesystem, busybox, kernel-core, scripted, rpm")
    let again = try await place.vnfs("build", newer)
    #expect(again.succeeded && again.output.contains("acme, generation 2"), "\(again.output)")
    let difference = try await place.vnfs("diff", "acme:1", "acme:2")
    let words = difference.output.split(whereSeparator: \.isWhitespace).joined(separator: " ")
    #expect(words.contains("scripted.x86_64 2.0-1.el9 2.1-1.el9"), "\(difference.output)")
    #expect(words.contains("capable.x86_64 1-1.el9") && words.contains("rpm.x86_64"), "\(difference.output)")
    #expect(!words.contains("busybox.x86_64"), "\(difference.output)")
    #expect(difference.output.contains("var/lib/rpm/rpmdb.sqlite"), "\(difference.output)")
    #expect(difference.output.contains("usr/lib/sysimage/rpm/rpmdb.sqlite"), "\(difference.output)")
    #expect(try await place.vnfs("verify", "acme").succeeded)
    #expect(try await place.shell("ls state/tmp; ! grep '\(place.directory)' /proc/self/mounts") == "")
  }

  @Test func `what dnf cannot do is said in its words, and nothing is kept`() async throws {
    let place = try await makePlace()
    defer { try? FileManager.default.removeItem(atPath: place.directory) }
    func refused(_ path: String, _ words: String...) async throws {
      let ended = try await place.vnfs("build", path)
      #expect(!ended.succeeded && words.allSatisfy(ended.output.contains), "\(ended.output)")
    }
    try await refused(
      try recipe(place, "none", packages: "busybox, not-there"),
      "Making the RPM tree failed (dnf)", "Unable to find a match: not-there")
    try await refused(
      try recipe(place, "far", repos: ["http://127.0.0.1:1/os"]), "http://127.0.0.1:1/os", "Failed to connect")
    let unsigned = try recipe(place, "unsigned", repos: ["base", "unsigned"], packages: "busybox, plain")
    try await refused(unsigned, "Package plain-1-1.el9.x86_64.rpm is not signed", "GPG check FAILED")
    let keyless = try recipe(place, "keyless", keys: "keys: none.asc")
    try await refused(keyless, "none.asc", "No such file")
    // The tree of what is not looked at has no kernel, which is seen when all is installed.
    let unchecked = try recipe(
      place, "unchecked", repos: ["base", "unsigned"], keys: "gpgcheck: false", packages: "busybox, plain")
    try await refused(unchecked, "has no kernel")
    let path = try await place.shell(
      "mkdir bin; for p in unshare sh mount mkdir; do ln -s $(command -v $p) bin/; done; echo $PWD/bin")
    let without = try await Command(
      [Appliance.executable, "--config", place.configuration, "vnfs", "build", try recipe(place, "without")],
      environment: ["PATH": path.trimmingCharacters(in: .whitespacesAndNewlines)]
    ).run(timeout: .seconds(300))
    #expect(
      without.errors.contains("the program 'dnf' is not there. Install the package dnf: apt-get install dnf"),
      "\(without.errors)")
    #expect(
      try await place.shell(
        "ls state/tmp; find state/blobs/sha256 -type f; ! grep '\(place.directory)' /proc/self/mounts") == "")
  }

  @Test func `Ctrl-C in a package's script leaves nothing`() async throws {
    let place = try await makePlace()
    defer { try? FileManager.default.removeItem(atPath: place.directory) }
    let path = try recipe(place, "slow", packages: "slow")
    let build = try RunningProcess(
      Command([Appliance.executable, "--config", place.configuration, "vnfs", "build", path]))
    try await place.shell("until ls state/tmp/*/root/etc/slow-begun 2>/dev/null; do sleep 0.1; done")
    kill(build.pid, SIGINT)
    #expect(try await build.exit(within: .seconds(300)) != .exited(0))
    #expect(
      try await place.shell("ls state/tmp; ! grep '\(place.directory)' /proc/self/mounts; ! pgrep -f 'sleep 777[3]'")
        == "")
  }
}
