import Capsule
import CapsuleFormat
import Foundation
import TestSupport
import Testing

/// Builds by real dnf, of packages that rpmbuild makes here: a small distribution with a kernel.
@Suite(
  .enabled(
    if: isRoot && access("/bin/busybox", X_OK) == 0
      && ["dnf", "rpmbuild", "rpmsign", "createrepo_c", "gpg", "xz", "getcap"].allSatisfy(isInstalled)),
  .timeLimit(.minutes(15)))
struct RPMRecipeTests {
  let tree: SyntheticTree
  let state: TemporaryDirectory
  let store: ContentStore

  init() throws {
    tree = try SyntheticTree()
    state = try TemporaryDirectory()
    store = try ContentStore(directory: state.path)
  }

  /// - Parameter install: Shell commands that fill the package's root, `$R`.
  private func package(
    _ name: String, version: String = "1.0", header: String = "", install: String, sections: String = "", files: String
  ) throws {
    let spec = """
      Name: \(name)
      Version: \(version)
      Release: 1.el9
      Summary: The package \(name)
      License: MIT
      AutoReqProv: no
      \(header)
      %description
      %{summary}.
      %install
      R=%{buildroot}; mkdir -p $R; cd $R
      \(install)
      \(sections)
      %files
      \(files)

      """
    try tree.directory.write(Array(spec.utf8), to: "\(name).spec")
    try tree.directory.run(
      """
      top=$PWD/rpm; mkdir -p $top repo
      rpmbuild --quiet -bb --define "_topdir $top" --define "_rpmdir $PWD/repo" --define '_build_id_links none' \
        --define 'debug_package %{nil}' --define '__os_install_post %{nil}' --buildroot $top/root \(name).spec 2>&1
      """)
  }

  /// A kernel whose modules are compressed, as Enterprise Linux has them, and what a shell needs.
  private func distribution(tool: String = "1.0", hasRPM: Bool = true) throws {
    let source = tree.source
    try package(
      "filesystem", header: "BuildArch: noarch",
      install: "mkdir -p usr/bin usr/lib usr/sbin etc var/lib root tmp; ln -s usr/lib lib; ln -s usr/bin bin",
      files: "/*")
    try package(
      "busybox", header: "Requires: filesystem\nProvides: /bin/sh",
      install: "mkdir -p usr/bin; cp /bin/busybox usr/bin/; for n in sh id cat; do ln -s busybox usr/bin/$n; done",
      files: "/usr/bin/*")
    try package(
      "kernel-core", version: "6.6.1", header: "Requires: filesystem",
      install: """
        mkdir -p usr/lib/firmware; cp -a '\(source)/usr/lib/modules' usr/lib/; cp -a '\(source)/usr/lib/firmware/acme' usr/lib/firmware/
        cp '\(source)/boot/vmlinuz-\(SyntheticTree.release)' usr/lib/modules/\(SyntheticTree.release)/vmlinuz
        find usr/lib/modules -name '*.ko' -exec xz {} +
        sed -i 's/\\.ko\\>/.ko.xz/g' usr/lib/modules/\(SyntheticTree.release)/modules.dep
        """, files: "/usr/lib/modules\n/usr/lib/firmware/acme")
    try package(
      "tool", version: tool, header: "Requires(post): busybox",
      install: "mkdir -p usr/bin etc; cp /bin/busybox usr/bin/tool; echo ID=elish >etc/os-release",
      sections: "%post\n[ -c /dev/null ] && [ -d /proc/1 ] && echo \"$(id -u) $1\" >/etc/from-script",
      files: "%caps(cap_net_raw=ep) /usr/bin/tool\n/etc/os-release")
    if hasRPM {
      try package(
        "rpm", version: "4.16", header: "BuildArch: noarch",
        install: "mkdir -p usr/lib/rpm; printf '%%%%_dbpath\\t\\t%%%%{_var}/lib/rpm\\n' >usr/lib/rpm/macros",
        files: "/usr/lib/rpm")
    }
    try tree.directory.run("createrepo_c --quiet repo")
  }

  private func build(_ yaml: String) async throws -> StoredCapsule {
    let recipe = try Recipe.parse(yaml: yaml, file: "\(tree.directory.path)/recipe.yaml")
    let request = BuildRequest(
      source: "", nodeExecutable: "\(tree.directory.path)/perseid-node", busybox: "\(tree.directory.path)/busybox")
    return try await RecipeBuilder(store: store).build(recipe, request)
  }

  private func failure(_ yaml: String) async -> CapsuleError? {
    do { _ = try await build(yaml) } catch { return error as? CapsuleError }
    return nil
  }

  private func recipe(_ settings: String = "gpgcheck: false", packages: String = "[kernel-core, tool, rpm]") -> String {
    """
    name: elish
    base: { rpm: { release: "9", repos: ["file://\(tree.directory.path)/repo"], \(settings) } }
    packages: \(packages)
    commands: [id -u >/etc/from-command]

    """
  }

  private func expectNothingLeft() throws {
    #expect(try state.run("ls tmp") == "")
    #expect(try !state.run("cat /proc/self/mounts").contains(state.path))
  }

  private func unpack(_ capsule: StoredCapsule) throws {
    try state.run(
      """
      mkdir out; zstd -dcq <'\(store.path(of: capsule.rootFileSystem.digest))' |
        tar --numeric-owner --xattrs --xattrs-include='*' -C out -xpf -
      """)
  }

  @Test func `packages are installed with their scripts and capabilities, the recipe is kept, and nothing of dnf is`()
    async throws
  {
    try distribution()
    let capsule = try await build(recipe())
    #expect(capsule.config.kernelRelease == SyntheticTree.release)
    try unpack(capsule)
    #expect(try state.run("cat out/etc/from-script out/etc/from-command") == "0 1\n0\n")
    #expect(try state.run("getcap out/usr/bin/tool").contains("cap_net_raw=ep"))
    #expect(try state.run("cat out/etc/perseid/recipe.yaml") == recipe())
    #expect(try state.run("find out/dev out/proc out/sys out/run -mindepth 1") == "")
    #expect(try state.run("find out/var/cache out/var/log out/root -name '*dnf*' -o -name '*rpm*'") == "")
    #expect(try state.run("grep -rl '\(state.path)' out || true") == "")
    // The database is where the tree's own rpm has it.
    #expect(try state.run("ls out/usr/lib/sysimage/rpm") == "")
    let installed = try state.run("cp -r out/var/lib/rpm db; rpm --dbpath $PWD/db -qa --qf '%{NAME} '")
    #expect(installed.split(separator: " ").sorted() == ["busybox", "filesystem", "kernel-core", "rpm", "tool"])
    // Modules are not compressed in the initramfs, which is as a whole.
    let initramfs = try #require(capsule.manifest.layer(MediaType.initramfs))
    let names = try state.run("zstd -dcq <'\(store.path(of: initramfs.digest))' | cpio -it --quiet")
    #expect(names.contains("kernel/drivers/net/ethernet/acme/acme-net.ko\n") && !names.contains(".ko.xz"), "\(names)")
    #expect(names.contains("lib/firmware/acme/card.bin"))
    try expectNothingLeft()
  }

  @Test func `the difference of two builds tells the packages by version`() async throws {
    try distribution(hasRPM: false)
    let first = try await build(recipe(packages: "[kernel-core, tool]"))
    try distribution(tool: "2.0", hasRPM: false)
    let second = try await build(recipe(packages: "[kernel-core, tool]"))
    let difference = try await CapsuleDifference.between(first.digest, second.digest, in: store)
    #expect(
      difference.packages == [CapsuleDifference.Package(name: "tool.x86_64", before: "1.0-1.el9", after: "2.0-1.el9")])
  }

  @Test func `packages that nobody signed are taken only where the recipe says so`() async throws {
    #expect(throws: (any Error).self) { try Recipe.parse(yaml: recipe("gpgcheck: true"), file: "r") }
    try distribution()
    try tree.directory.run(
      """
      mkdir -m 700 gpg; export GNUPGHOME=$PWD/gpg
      gpg --batch --quiet --passphrase '' --quick-generate-key 'A vendor <vendor@example.org>' rsa2048 sign never 2>&1
      gpg --batch --armor --export >vendor.asc
      """)
    let unsigned = try #require(await failure(recipe("keys: vendor.asc")))
    #expect(unsigned.code == .tool && unsigned.description.contains("is not signed"), "\(unsigned)")
    try expectNothingLeft()
    #expect(try state.run("find blobs -type f") == "")
    try tree.directory.run(
      """
      export GNUPGHOME=$PWD/gpg
      find repo -name '*.rpm' -exec rpmsign --define '_gpg_name vendor@example.org' \
        --define "__gpg $(command -v gpg)" --addsign {} + 2>&1
      gpgconf --kill all; createrepo_c --quiet repo
      """)
    let capsule = try await build(recipe("keys: vendor.asc"))
    #expect(capsule.config.name == "elish")
  }

  @Test func `what dnf cannot do is said with its words, and nothing is kept`() async throws {
    try distribution()
    let package = try #require(await failure(recipe(packages: "[kernel-core, nonesuch]")))
    #expect(package.description.contains("Making the RPM tree failed"), "\(package)")
    #expect(package.description.contains("nonesuch"), "\(package)")
    let gone = "base: { rpm: { release: \"9\", repos: [\"file:///nowhere/repo\"], gpgcheck: false } }\npackages: tool"
    let repository = try #require(await failure(gone))
    #expect(repository.description.contains("file:///nowhere/repo"), "\(repository)")
    let none = try #require(await failure(recipe(packages: "[]")))
    #expect(none.description.contains("names no packages"), "\(none)")
    try expectNothingLeft()
    #expect(try state.run("find blobs -type f") == "")
  }
}
