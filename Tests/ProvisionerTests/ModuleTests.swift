import Capsule
import CapsuleFormat
import Foundation
import NetworkTypes
import StateProtocol
import Testing

import struct Lab.Command

@testable import Provisioner

@Suite("Modules", .timeLimit(.minutes(5)))
struct ModuleTests {
  /// A module of text files, as a verb sends it.
  static func archive(_ files: [String: String]) throws -> ImportModule {
    var bundle = FileBundle()
    for (path, text) in files {
      bundle.files[try #require(TreePath(path))] = FileBundle.File(content: Array(text.utf8))
    }
    return ImportModule(source: "the test", archive: Data(try bundle.encoded()).base64EncodedString())
  }

  static let motd = [
    "module.yaml": """
    name: motd
    version: "1.2"
    description: The message of the day.
    roles: [init/all]
    variables:
      motd_text: { type: text, default: welcome, description: What it says. }
      motd_lines: { type: integer }
    files:
      - { path: /etc/motd, template: templates/motd, mode: "0640", owner: "root:adm", states: [init] }
    """,
    "templates/motd": "{{motd_text}} & <{{node.name}}>{{#motd_lines}} {{motd_lines}}{{/motd_lines}}\n",
    "nodescripts/init/60-motd": "echo motd\n",
    "nodescripts/70-both.server": "echo echo $motd_text\n",
  ]

  private func prepared(_ directory: TestDirectory) async throws -> (Appliance, Boot) {
    let appliance = try await makeAppliance(directory)
    _ = try await appliance.registerCapsule("debian-12", digest: try makeCapsule("debian-12", in: appliance.content))
    let boot = try await appliance.ledger.bind(
      BootLedger.Request(mac: mac(1), address: IPv4Address(10, 0, 0, 21), phase: .script)
    ).boot
    return (appliance, boot)
  }

  private func plan(_ appliance: Appliance, _ state: String, _ boot: Boot) async throws -> Plan {
    let body = try report(state, boot: boot.id, mac(1))
    return try Plan.decode(bytes(await appliance.nodeService.respond(to: .post("/v1/state", body)).body))
  }

  private func content(_ appliance: Appliance, _ step: Step) async -> String {
    text(await appliance.nodeService.respond(to: .get("/blobs/sha256/\(step.digest.hexadecimal)")))
  }

  private func refusal(_ body: () async throws -> some Any) async throws -> String {
    try await #require(throws: ApplianceError.self) { _ = try await body() }.message
  }

  @Test("An active module's scripts are links at its level, and its files are rendered for the node into the plan")
  func activation() async throws {
    let directory = try TestDirectory()
    let (appliance, boot) = try await prepared(directory)
    _ = try await appliance.importModule(try Self.archive(Self.motd))
    #expect(try await plan(appliance, "init", boot).steps.map(\.name) == ["50-root"])
    let change = try await appliance.activateModule("motd", roles: [])
    #expect(change.changed == ["init/all"] && change.active == ["init/all"] && change.warnings.isEmpty)
    let link = directory.path + "/state/nodescripts/init/all/60-motd"
    #expect(
      try FileManager.default.destinationOfSymbolicLink(atPath: link)
        == "../../../modules/motd/nodescripts/init/60-motd")
    var plan = try await plan(appliance, "init", boot)
    #expect(plan.wait == nil)
    #expect(plan.steps.map(\.name) == ["50-root", "55-etc-motd", "60-motd", "70-both"])
    let file = try #require(plan.steps.first { $0.kind == .file })
    #expect(file.path == "/etc/motd" && file.mode == 0o640 && file.owner == "root" && file.group == "adm")
    #expect(await content(appliance, file) == "welcome & <n0000>\n")
    #expect(await content(appliance, plan.steps[3]) == "echo welcome\n")
    _ = try await appliance.setNodes(["n0000"], key: "var.motd_text", value: "hello")
    _ = try await appliance.setNodes(["n0000"], key: "var.motd_lines", value: "3")
    plan = try await self.plan(appliance, "init", boot)
    #expect(await content(appliance, plan.steps[1]) == "hello & <n0000> 3\n")
    #expect(plan.environment["motd_text"] == "hello")
    #expect(try await self.plan(appliance, "ready", boot).steps.isEmpty)
    let why = try appliance.nodeWhy("n0000")
    #expect(why.scripts.filter { $0.state == "init" }.map(\.module) == ["motd", "motd"])
    #expect(why.files.map(\.path) == ["/etc/motd"] && why.files[0].module == "motd")
    #expect(why.settings.first { $0.key == "var.motd_text" }?.from == "node")
    _ = try await appliance.deactivateModule("motd", roles: [])
    #expect(try await self.plan(appliance, "init", boot).steps.map(\.name) == ["50-root"])
    #expect(!FileManager.default.fileExists(atPath: link))
    try await appliance.close()
  }

  @Test("A nearer level's module takes the place of a file of the same path, and the node's own file that of a script")
  func levels() async throws {
    let directory = try TestDirectory()
    let (appliance, boot) = try await prepared(directory)
    _ = try await appliance.importModule(try Self.archive(Self.motd))
    var other = Self.motd
    other["module.yaml"] = """
      name: other
      version: "1"
      files: [{ path: /etc/motd, file: files/motd }]
      """
    other["files/motd"] = "other\n"
    _ = try await appliance.importModule(try Self.archive(other))
    _ = try await appliance.activateModule("motd", roles: ["init/all"])
    _ = try await appliance.activateModule("other", roles: ["init/group/cluster"])
    try directory.write("echo own\n", to: "state/nodescripts/init/node/n0000/60-motd")
    let plan = try await plan(appliance, "init", boot)
    #expect(plan.steps.map(\.level) == ["built-in", "group/cluster", "node/n0000", "group/cluster"])
    #expect(await content(appliance, plan.steps[1]) == "other\n")
    #expect(try appliance.nodeWhy("n0000").files.first?.replaced == ["all"])
    try await appliance.close()
  }

  @Test("Two modules with a script or a file in common are refused at one level, and so is a file in the way")
  func conflicts() async throws {
    let directory = try TestDirectory()
    let (appliance, _) = try await prepared(directory)
    _ = try await appliance.importModule(try Self.archive(Self.motd))
    var other = Self.motd
    other["module.yaml"] = "name: other\nversion: \"1\"\n"
    _ = try await appliance.importModule(try Self.archive(other))
    _ = try await appliance.activateModule("motd", roles: ["init/all"])
    let words = try await refusal { try await appliance.activateModule("other", roles: ["init/all"]) }
    #expect(words.contains("other") && words.contains("motd") && words.contains("60-motd"))
    try directory.write("echo\n", to: "state/nodescripts/init/group/cluster/60-motd.server")
    let inTheWay = try await refusal { try await appliance.activateModule("other", roles: ["init/group/cluster"]) }
    #expect(inTheWay.contains("group/cluster/60-motd.server"))
    for (role, what) in [
      ("init/vnfs/none", "no capsule 'none'"), ("init/node/n4711", "no node 'n4711'"), ("init", "STATE/all"),
      ("init/rack/1", "STATE/all"), ("../x/all", "STATE/all"),
    ] {
      #expect(try await refusal { try await appliance.activateModule("motd", roles: [role]) }.contains(what), "\(role)")
    }
    let early = try await appliance.activateModule("motd", roles: ["init/group/later"])
    #expect(early.warnings == ["No node is in the group later yet."])
    #expect(try await refusal { try await appliance.deleteModule("motd") }.contains("init/all, init/group/later"))
    _ = try await appliance.deactivateModule("motd", roles: [])
    _ = try await appliance.deleteModule("motd")
    #expect(!FileManager.default.fileExists(atPath: directory.path + "/state/modules/motd"))
    try await appliance.close()
  }

  @Test("A variable that is unknown or of another type is told with template, line, variable, node and what to set")
  func variables() async throws {
    let directory = try TestDirectory()
    let (appliance, boot) = try await prepared(directory)
    var module = Self.motd
    module["templates/motd"] = "one\n{{#nodes}}{{name}}{{/nodes}}\n{{rack}}\n"
    _ = try await appliance.importModule(try Self.archive(module))
    _ = try await appliance.setNodes(["n0000"], key: "var.motd_lines", value: "many")
    _ = try await appliance.activateModule("motd", roles: ["init/all"])
    let wrongType = try #require(try await plan(appliance, "init", boot).wait?.reason)
    #expect(wrongType.contains("motd_lines") && wrongType.contains("'many'") && wrongType.contains("a whole number"))
    let refused = try await refusal { try await appliance.setNodes(["n0000"], key: "var.motd_lines", value: "few") }
    #expect(refused.contains("a whole number") && refused.contains("motd"))
    _ = try await appliance.setNodes(["n0000"], key: "var.motd_lines", value: "4")
    let unknown = try #require(try await plan(appliance, "init", boot).wait?.reason)
    for word in ["motd: templates/motd, line 3", "'rack'", "n0000", "perseid node set var.rack"] {
      #expect(unknown.contains(word), "\(word) in \(unknown)")
    }
    _ = try await appliance.setGroup("cluster", key: "var.rack", value: "r1")
    let plan = try await plan(appliance, "init", boot)
    #expect(await content(appliance, plan.steps[1]) == "one\nn0000\nr1\n")
    try await appliance.close()
  }

  @Test("A new version takes the old one's place at once where it is active, and survives a restart")
  func newVersion() async throws {
    let directory = try TestDirectory()
    var (appliance, boot) = try await prepared(directory)
    _ = try await appliance.importModule(try Self.archive(Self.motd))
    _ = try await appliance.activateModule("motd", roles: ["init/all"])
    var new = Self.motd
    new["nodescripts/init/60-motd"] = nil
    new["nodescripts/init/61-new"] = "echo new\n"
    new["templates/motd"] = "new\n"
    _ = try await appliance.importModule(try Self.archive(new))
    #expect(
      try await plan(appliance, "init", boot).steps.map(\.name) == ["50-root", "55-etc-motd", "61-new", "70-both"])
    let kept = try FileManager.default.contentsOfDirectory(atPath: directory.path + "/state/modules")
    #expect(kept.count == 2)
    try await appliance.close()
    // What a crash left half done is put right at the start.
    try FileManager.default.removeItem(atPath: directory.path + "/state/nodescripts/init/all/61-new")
    appliance = try await makeAppliance(directory)
    let plan = try await plan(appliance, "init", boot)
    #expect(plan.steps.map(\.name) == ["50-root", "55-etc-motd", "61-new", "70-both"])
    #expect(await content(appliance, plan.steps[1]) == "new\n")
    #expect(appliance.modules().map(\.active) == [["init/all"]])
    new["nodescripts"] = nil
    new["module.yaml"] = "name: motd\nversion: \"3\"\n"
    new["nodescripts/70-both.server"] = nil
    new["nodescripts/init/61-new"] = nil
    new["nodescripts/ready/61-new"] = "echo\n"
    #expect(try await refusal { try await appliance.importModule(try Self.archive(new)) }.contains("init/all"))
    try await appliance.close()
  }

  @Test("Nodes that ask while versions change get all of one version, never some of two")
  func wholeVersions() async throws {
    let directory = try TestDirectory()
    let (appliance, boot) = try await prepared(directory)
    func version(_ number: Int) throws -> ImportModule {
      try Self.archive([
        "module.yaml": "name: v\nversion: \"\(number)\"\nfiles: [{ path: /v, file: files/v }]\n",
        "files/v": "\(number)", "nodescripts/60-v": "\(number)", "nodescripts/61-v": "\(number)",
      ])
    }
    _ = try await appliance.importModule(version(0))
    _ = try await appliance.activateModule("v", roles: ["init/all"])
    try await withThrowingTaskGroup { group in
      group.addTask { for number in 1...30 { _ = try await appliance.importModule(version(number)) } }
      for _ in 0..<60 {
        let plan = try await plan(appliance, "init", boot)
        let digests = Set(plan.steps.filter { $0.name != "50-root" }.map(\.digest))
        #expect(digests.count == 1 && plan.steps.count == 4, "\(plan.wait?.reason ?? "")")
      }
      try await group.waitForAll()
    }
    try await appliance.close()
  }

  static let mistakes: [(files: [String: String], words: String)] = [
    ([:], "module.yaml"),
    (["module.yaml": ""], "empty"),
    (["module.yaml": "name: [a\n"], "line 2"),
    (["module.yaml": "name: Bad Name\nversion: \"1\"\n"], "line 1: name"),
    (["module.yaml": "name: a\n"], "version"),
    (["module.yaml": "name: a\nversion: \"1\"\ncolour: blue\n"], "line 3: colour"),
    (["module.yaml": "name: a\nversion: \"1\"\nroles: [init/everywhere]\n"], "STATE/all"),
    (["module.yaml": "name: a\nversion: \"1\"\nroles: [init/all]\n"], "no script and no file for init"),
    (["module.yaml": "name: a\nversion: \"1\"\nvariables: { STATE: {} }\n"], "STATE"),
    (["module.yaml": "name: a\nversion: \"1\"\nvariables: { x: { type: number } }\n"], "text, integer"),
    (["module.yaml": "name: a\nversion: \"1\"\nvariables: { x: { type: integer, default: y } }\n"], "whole number"),
    (["module.yaml": "name: a\nversion: \"1\"\nfiles: [{ path: /a/../b, file: files/x }]\n"], "absolute path"),
    (["module.yaml": "name: a\nversion: \"1\"\nfiles: [{ path: /a, file: files/x }]\n"], "files/x, which is not in it"),
    (["module.yaml": "name: a\nversion: \"1\"\nfiles: [{ path: /a }]\n"], "template, file, site and hostKey"),
    (
      ["module.yaml": "name: a\nversion: \"1\"\nfiles: [{ path: /a, site: x, mode: \"999\" }]\n"], "octal"
    ),
    (
      ["module.yaml": "name: a\nversion: \"1\"\n", "nodescripts/hostname": ""], "nodescripts/hostname is no nodescript"
    ),
    (
      ["module.yaml": "name: a\nversion: \"1\"\n", "nodescripts/10-a": "", "nodescripts/10-a.server": ""], "10-a.server"
    ),
    (
      [
        "module.yaml": "name: a\nversion: \"1\"\nfiles: [{ path: /a, template: templates/x }]\n",
        "templates/x": "one\n{{#a}}\n",
      ], "not mustache"
    ),
    (
      [
        "module.yaml": "name: a\nversion: \"1\"\nfiles: [{ path: /a, template: templates/x }]\n",
        "templates/x": "one\n{{>other}}\n",
      ], "line 2"
    ),
  ]

  @Test("A malformed module is refused with the place and what is wrong", arguments: mistakes)
  func malformed(files: [String: String], words: String) async throws {
    let directory = try TestDirectory()
    let appliance = try await makeAppliance(directory)
    let message = try await refusal { try await appliance.importModule(try Self.archive(files)) }
    #expect(message.contains(words), "\(message)")
    #expect(appliance.modules().isEmpty)
    try await appliance.close()
  }

  @Test("An archive that is none, or is cut short, or has a link in it, is refused")
  func damagedArchive() async throws {
    let directory = try TestDirectory()
    let appliance = try await makeAppliance(directory)
    let whole = try #require(Data(base64Encoded: try Self.archive(Self.motd).archive))
    for bytes in [Data("no archive".utf8), whole.prefix(whole.count / 2), Data()] {
      let request = ImportModule(source: "x.pmod", archive: bytes.base64EncodedString())
      #expect(try await refusal { try await appliance.importModule(request) }.contains("x.pmod"))
    }
    let link = try TarWriter.header(
      of: TarEntry(
        path: try #require(TreePath("module.yaml")), kind: .symbolicLink(target: Array("/etc/passwd".utf8)),
        mode: 0o777))
    let blob = try ZstdCompressor(level: 1).compress(link + TarWriter.end)
    let request = ImportModule(source: "x.pmod", archive: Data(blob).base64EncodedString())
    #expect(try await refusal { try await appliance.importModule(request) }.contains("neither a file nor a directory"))
    try await appliance.close()
  }

  @Test("A node's host key stays its own: it is made once, kept with mode 0600, and ssh-keygen reads it")
  func hostKeys() async throws {
    let directory = try TestDirectory()
    let pair = try HostKeys(directory: directory.path + "/keys").pair(of: "n0001")
    let again = HostKeys(directory: directory.path + "/keys")
    #expect(try again.pair(of: "n0001") == pair)
    #expect(try again.pair(of: "n0002") != pair)
    let path = directory.path + "/keys/n0001/ssh_host_ed25519_key"
    let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
    #expect(mode == 0o600)
    guard FileManager.default.isExecutableFile(atPath: "/usr/bin/ssh-keygen") else { return }
    let printed = try await Command("ssh-keygen", "-y", "-f", path).run().check().outputBytes
    #expect(printed == Array(pair.publicKey))
  }

  @Test("Every module that is shipped can be imported and activated where it says, all of them together")
  func shipped() async throws {
    let directory = try TestDirectory()
    let (appliance, boot) = try await prepared(directory)
    let root =
      URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().path + "/etc/modules"
    let names = try FileManager.default.contentsOfDirectory(atPath: root).sorted()
    #expect(names.count == 11)
    for name in names {
      let bundle = try ModuleArchive.read(root + "/" + name)
      let archive = Data(try bundle.encoded()).base64EncodedString()
      let module = try await appliance.importModule(ImportModule(source: name, archive: archive))
      #expect(module.name == name && !module.description.isEmpty)
      let readme = try #require(TreePath("README"))
      let lines = try #require(bundle.files[readme]).content.split(separator: 10)
      #expect((5...14).contains(lines.count), "the README of \(name) has \(lines.count) lines")
      _ = try await appliance.activateModule(name, roles: [])
    }
    let missing = try #require(try await plan(appliance, "init", boot).wait?.reason)
    #expect(missing.contains("/state/modulefiles/"))
    for (file, text) in [
      ("passwdfile/passwd", "a:x:1:1::/:/bin/sh\n"), ("groupfile/group", "a:x:1:\n"),
      ("masterauth/authorized_keys", "ssh-ed25519 A\n"), ("slurm/munge.key", "key"),
    ] { try directory.write(text, to: "state/modulefiles/\(file)") }
    let plan = try await plan(appliance, "init", boot)
    #expect(plan.wait == nil, "\(plan.wait?.reason ?? "")")
    #expect(plan.environment["ASSIGNED"] == "debian-12:1")
    let hosts = try #require(plan.steps.first { $0.path == "/etc/hosts" })
    let key = try #require(plan.steps.first { $0.path == "/etc/munge/munge.key" })
    #expect(key.owner == "munge" && key.group == "munge" && key.mode == 0o400)
    #expect(await content(appliance, hosts).contains("10.0.0.1 perseid\n"))
    _ = try await appliance.setNodes(["n0000"], key: "address", value: "10.0.0.21")
    _ = try await appliance.setNodes(["n0000"], key: "var.hosts_domain", value: "example.org")
    let again = try #require(try await self.plan(appliance, "ready", boot).steps.first { $0.path == "/etc/hosts" })
    #expect(await content(appliance, again).contains("\n10.0.0.21 n0000.example.org n0000\n"))
    try await appliance.close()
  }

  @Test("A list of all nodes is made once for them all, and anew where a node, an address or a variable is another")
  func lists() async throws {
    let (appliance, boot) = try await prepared(try TestDirectory())
    let list = "{{#nodes}}{{name}} {{address}}{{#site}}{{site}}{{/site}}\n{{/nodes}}"
    _ = try await appliance.importModule(
      try Self.archive([
        "module.yaml": """
        name: list
        version: "1"
        description: Every node.
        roles: [init/all]
        variables: { site: { type: text } }
        files: [{ path: /etc/list, template: templates/list }, { path: /etc/own, template: templates/own }]
        """, "templates/list": list, "templates/own": list + "{{node.name}}",
      ]))
    _ = try await appliance.activateModule("list", roles: [])
    let second = try await appliance.ledger.bind(
      BootLedger.Request(mac: mac(2), address: IPv4Address(10, 0, 0, 22), phase: .script)
    ).boot
    func lists() async throws -> [String] {
      var found: [String] = []
      for (boot, mac) in [(boot, mac(1)), (second, mac(2))] {
        let body = try report("init", boot: boot.id, mac)
        let plan = try Plan.decode(bytes(await appliance.nodeService.respond(to: .post("/v1/state", body)).body))
        for path in ["/etc/list", "/etc/own"] {
          found.append(await content(appliance, try #require(plan.steps.first { $0.path == path })))
        }
      }
      return found
    }
    _ = try await lists()
    var before = appliance.planFiles.templates.count
    func made() -> Int {
      defer { before = appliance.planFiles.templates.count }
      return appliance.planFiles.templates.count - before
    }
    // The one with the node's own name is its own.
    var texts = try await lists()
    #expect(texts[0] == texts[2] && texts[1] != texts[3] && made() == 2)
    _ = try await appliance.setNodes(["n0001"], key: "address", value: "10.0.0.77")
    texts = try await lists()
    #expect(texts[0] == texts[2] && texts[0].contains("n0001 10.0.0.77\n") && made() == 3)
    _ = try await appliance.setNodes(["n0001"], key: "var.site", value: "!")
    texts = try await lists()
    #expect(!texts[0].contains("!") && texts[2].contains("n0001 10.0.0.77!\n"))
    try await appliance.close()
  }

  @Test("An archive is read as its directory is, whatever compressed it, with its one directory left out")
  func archives() async throws {
    let directory = try TestDirectory()
    for (path, text) in Self.motd { try directory.write(text, to: "motd/" + path) }
    let whole = try ModuleArchive.read(directory.path + "/motd")
    #expect(whole.files.count == Self.motd.count)
    for (option, name) in [("-cf", "a.tar"), ("-czf", "a.tgz"), ("-cjf", "a.pmod"), ("-cJf", "a.tar.xz")] {
      for top in ["motd", "."] {
        try await Command(
          "tar", "-C", directory.path + (top == "." ? "/motd" : ""), option, directory.path + "/" + name, top
        ).run().check()
        let files = try ModuleArchive.read(directory.path + "/" + name).files
        #expect(files.mapValues(\.content) == whole.files.mapValues(\.content), "\(name) of \(top)")
      }
    }
  }
}
