import Capsule
import CapsuleFormat
import ConfigurationFile
import Foundation
import Lab
import Synchronization
import TestSupport
import Testing

@Suite struct RecipeTests {
  static let everything = """
    name: acme
    base:
      debian: { suite: bookworm, mirrors: [http://mirror.example/debian], components: [main, contrib], variant: apt }
    packages: [linux-image-amd64, nginx]
    files:
      - { path: /etc/motd, content: hello, owner: root:staff, mode: "0640" }
      - { path: /usr/bin/x, source: x }
      - { path: /etc/l, link: ../motd }
    commands: [passwd -d root]
    capsule: { version: "1.0", kernelArgs: quiet }
    stepSeconds: 100

    """

  @Test func `everything in a recipe is read`() throws {
    let recipe = try Recipe.parse(yaml: Self.everything, file: "/r/recipe.yaml")
    var debian = Recipe.Debian(suite: "bookworm")
    debian.mirrors = ["http://mirror.example/debian"]
    debian.components = ["main", "contrib"]
    debian.variant = "apt"
    #expect(recipe.base == .debian(debian) && recipe.name == "acme" && recipe.directory == "/r")
    #expect(recipe.packages == ["linux-image-amd64", "nginx"] && recipe.commands == ["passwd -d root"])
    #expect(recipe.files.map(\.path) == ["etc/motd", "usr/bin/x", "etc/l"])
    #expect(recipe.files[0].mode == 0o640 && recipe.files[0].owner == "root:staff")
    #expect(recipe.files[1].content == .source("x") && recipe.files[2].content == .link("../motd"))
    #expect(try CapsuleSettings.parse(yaml: recipe.capsule ?? "", file: "c").version == "1.0")
    #expect(recipe.stepSeconds == 100)
    let rpm = "base: { rpm: { release: 9, repos: [http://a/os, 'file:///b'], keys: [k, /l, http://a/k] } }"
    #expect(
      try Recipe.parse(yaml: rpm, file: "/r/x.yaml").base
        == .rpm(.init(release: "9", repositories: ["http://a/os", "file:///b"], keys: ["/r/k", "/l", "http://a/k"])))
    #expect(
      try Recipe.parse(yaml: "base: { rpm: { release: 9, repos: http://a, gpgcheck: false } }", file: "x").base
        == .rpm(.init(release: "9", repositories: ["http://a"], keys: nil)))
    #expect(try Recipe.parse(yaml: "base: { source: tree }", file: "/r/x.yaml").base == .source("/r/tree"))
    #expect(
      try Recipe.parse(yaml: "base: { source: docker://a/b:1 }", file: "/r/x.yaml").base == .source("docker://a/b:1"))
  }

  @Test(
    arguments: [
      ("", nil, "base", "found nothing, allowed is one of debian, rpm, source"),
      ("base: {}", 1, "base", "found 0 of them"),
      ("base: { debian: {} }", 1, "base.debian.suite", "found nothing, allowed is the name of a Debian release"),
      ("base: { rpm: { release: 9 } }", 1, "base.rpm.repos", "found nothing, allowed is the address of a repository"),
      ("base: { rpm: { release: 9, repos: os } }", 1, "base.rpm.repos", "found 'os'"),
      ("base: { rpm: { release: 9, repos: http://a } }", 1, "base.rpm.keys", "or gpgcheck: false"),
      (
        "base: { rpm: { release: 9, repos: http://a, keys: k, gpgcheck: false } }", 1, "base.rpm.gpgcheck", "one of the"
      ),
      ("base: { source: a }\npackages: --yes", 2, "packages", "found '--yes', allowed is the name of a package"),
      ("base: { source: a }\nfiles: [{ path: etc }]", 2, "files[0].path", "an absolute path in the tree"),
      ("base: { source: a }\nfiles: [{ path: /a }]", nil, "files[0].content", "found 0 of content, source, link"),
      ("base: { source: a }\nfiles: [{ path: /a, link: b, mode: 999 }]", 2, "files[0].mode", "octal digits"),
      ("base: { source: a }\nfiles: [{ path: /a, link: b, owner: me }]", 2, "files[0].owner", "USER:GROUP"),
      ("base: { source: a }\ncapsule: { colour: red }", 1, "colour", "there is no such key"),
      ("base: { gentoo: {} }", 1, "base.gentoo", "there is no such key; the keys here are debian, rpm, source"),
    ] as [(String, Int?, String, String)])
  func `what is wrong with a recipe is said with key and line`(yaml: String, line: Int?, key: String, words: String)
    throws
  {
    do {
      _ = try Recipe.parse(yaml: yaml, file: "r")
      Issue.record("\(yaml) was taken")
    } catch let error as ConfigurationError {
      #expect(error.line == line && error.key == key, "\(error)")
      #expect(error.description.contains(words), "\(error)")
    }
  }
}

/// Builds with real parts, on a tree of busybox and the synthetic kernel.
@Suite(.enabled(if: isRoot && access("/bin/busybox", X_OK) == 0)) struct RecipeBuildTests {
  let tree: SyntheticTree
  let state: TemporaryDirectory
  let store: ContentStore

  init() throws {
    tree = try SyntheticTree()
    state = try TemporaryDirectory()
    store = try ContentStore(directory: state.path)
    try tree.directory.run(
      """
      cp /bin/busybox tree/usr/bin/; for n in sh cat echo ls id touch sleep mount stat grep cut; do ln -s busybox tree/usr/bin/$n; done
      ln -s usr/bin tree/bin; mkdir -p tree/real; ln -s /real tree/etc/linked
      printf 'root:x:0:0::/:/bin/sh\\nann:x:1234:1234::/:/bin/sh\\n' >tree/etc/passwd; printf 'staff:x:50:\\n' >tree/etc/group
      printf '#!/bin/sh\\n' >program; chmod 755 program
      """)
  }

  private func build(_ yaml: String, notes: Notes = Notes()) async throws -> StoredCapsule {
    let recipe = try Recipe.parse(yaml: yaml, file: "\(tree.directory.path)/recipe.yaml")
    let request = BuildRequest(
      source: "", nodeExecutable: "\(tree.directory.path)/perseid-node", busybox: "\(tree.directory.path)/busybox")
    return try await RecipeBuilder(store: store).build(recipe, request) { progress in
      if let note = progress.note { notes.add(note) }
    }
  }

  private func failure(_ yaml: String) async -> CapsuleError? {
    do { _ = try await build(yaml) } catch { return error as? CapsuleError }
    return nil
  }

  private func unpack(_ capsule: StoredCapsule) throws {
    try state.run(
      "mkdir out; zstd -dcq <'\(store.path(of: capsule.rootFileSystem.digest))' | tar --numeric-owner -C out -xpf -")
  }

  /// What a build may not leave behind: files of its own, and mounts.
  private func expectNothingLeft() throws {
    #expect(try state.run("ls tmp") == "")
    #expect(try !state.run("cat /proc/self/mounts").contains(state.path))
  }

  @Test func `files are placed and commands run in the tree, and the capsule keeps its recipe`() async throws {
    let yaml = """
      name: small
      base: { source: tree }
      files:
        - { path: /etc/motd, content: "hello\\n", owner: ann:staff, mode: "4750" }
        - { path: /opt/deep/program, source: program }
        - { path: /etc/linked/inside, content: inside }
        - { path: /etc/link, link: /etc/motd }
      commands:
        - cat /etc/motd >/usr/from-command; id -u >>/usr/from-command
        - |
          grep -q nameserver /etc/resolv.conf || ! grep -q nameserver /proc/1/root/etc/resolv.conf
          [ -c /dev/null ] && [ -d /proc/1 ] && [ ! -e /dev/sda ]
          echo "this is said"; sleep 1000 &
      capsule: { version: "7", kernelArgs: quiet }

      """
    let notes = Notes()
    let capsule = try await build(yaml, notes: notes)
    #expect(capsule.config.name == "small" && capsule.config.version == "7")
    #expect(capsule.config.kernelArguments == "quiet")
    try unpack(capsule)
    #expect(try state.run("cat out/usr/from-command") == "hello\n0\n")
    #expect(try state.run("stat -c '%u:%g %a' out/etc/motd out/opt/deep/program") == "1234:50 4750\n0:0 755\n")
    #expect(try state.run("cat out/real/inside; readlink out/etc/link") == "inside/etc/motd\n")
    #expect(try state.run("find out/dev out/proc out/sys out/run -mindepth 1; ls out/etc | grep resolv || true") == "")
    #expect(try state.run("cat out/etc/perseid/recipe.yaml") == yaml)
    let tools = try #require(capsule.manifest.layer(MediaType.tools))
    let bundle = try FileBundle(decoding: try store.read(tools.digest, limit: 1 << 20))
    #expect(bundle.files.keys.map(\.description).sorted() == ["capsule.yaml", "recipe.yaml"])
    #expect(notes.all.contains("  this is said"))
    try expectNothingLeft()
  }

  @Test func `a command that fails is named with its last words, and nothing is kept`() async throws {
    let failure = try #require(
      await failure("base: { source: tree }\ncommands: [echo fine, 'echo no such disk; exit 3']"))
    #expect(failure.code == .tool)
    #expect(failure.description.contains("Command 2 of the recipe failed"), "\(failure)")
    #expect(failure.description.contains("no such disk") && failure.description.contains("it ended with 3"))
    try expectNothingLeft()
    #expect(try state.run("find blobs -type f") == "")
  }

  @Test func `a command that takes too long is ended with all it started`() async throws {
    let failure = try #require(
      await failure("base: { source: tree }\nstepSeconds: 3\ncommands: ['sleep 7771 & sleep 7772']"))
    #expect(failure.description.contains("it took longer than 3 seconds"), "\(failure)")
    #expect(try !state.run("ps ax -o args 2>/dev/null || true").contains("sleep 777"))
    try expectNothingLeft()
  }

  @Test func `a build that is cancelled leaves neither processes nor mounts`() async throws {
    let recipe = try Recipe.parse(
      yaml: "base: { source: tree }\ncommands: ['echo begun; sleep 8881']", file: "\(tree.directory.path)/r.yaml")
    let request = BuildRequest(
      source: "", nodeExecutable: "\(tree.directory.path)/perseid-node", busybox: "\(tree.directory.path)/busybox")
    let (begun, begin) = AsyncStream.makeStream(of: Void.self)
    let builder = RecipeBuilder(store: store)
    let task = Task {
      try await builder.build(recipe, request) { if $0.note == "  begun" { begin.yield() } }
    }
    for await _ in begun { break }
    task.cancel()
    await #expect(throws: CancellationError.self) { try await task.value }
    #expect(try !state.run("ps ax -o args 2>/dev/null || true").contains("sleep 8881"))
    try expectNothingLeft()
  }

  @Test func `what a recipe asks for and cannot have is said`() async throws {
    let packages = try #require(await failure("base: { source: tree }\npackages: nginx"))
    #expect(packages.description.contains("the tree has none of apt-get, dnf and zypper"), "\(packages)")
    let directory = try #require(await failure("base: { source: tree }\nfiles: [{ path: /usr, content: x }]"))
    #expect(directory.description.contains("there is a directory of that name"), "\(directory)")
    let owner = try #require(
      await failure("base: { source: tree }\nfiles: [{ path: /x, content: x, owner: bob:staff }]"))
    #expect(owner.description.contains("/etc/passwd has no 'bob'"), "\(owner)")
    let inside = try #require(
      await failure("base: { source: tree }\nfiles: [{ path: /etc/passwd/x, content: x }]"))
    #expect(inside.description.contains("the tree's /etc/passwd/x failed: Not a directory"), "\(inside)")
    try expectNothingLeft()
  }

  @Test func `what is wrong with the tree that was made is said of the recipe, with what to change in it`()
    async throws
  {
    let recipe = "the recipe \(tree.directory.path)/recipe.yaml"
    let kernel = try #require(await failure("base: { source: tree }\ncommands: busybox rm -r /boot"))
    #expect(kernel.code == .noKernel)
    #expect(kernel.description.contains("The tree of \(recipe) has no kernel: "), "\(kernel)")
    #expect(kernel.description.contains("Name a kernel package under packages in the recipe"), "\(kernel)")
    let modules = try #require(await failure("base: { source: tree }\ncommands: busybox rm -r /usr/lib/modules"))
    #expect(modules.description.contains("The tree of \(recipe) has the kernel"), "\(modules)")
    #expect(modules.description.contains("have the recipe's packages, files or commands do that"), "\(modules)")
    let settings = try #require(
      await failure(
        "base: { source: tree }\ncommands: |\n  busybox mkdir -p /etc/perseid; echo 'a: b' >/etc/perseid/capsule.yaml"))
    #expect(settings.description.contains("/etc/perseid/capsule.yaml in the tree of \(recipe)"), "\(settings)")
    for failure in [kernel, modules, settings] {
      #expect(!failure.description.contains(state.path), "\(failure)")
    }
    try expectNothingLeft()
  }
}
