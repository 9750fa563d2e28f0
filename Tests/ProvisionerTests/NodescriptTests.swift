import Testing

@testable import Provisioner

@Suite("Nodescripts")
struct NodescriptTests {
  @Test("A later level replaces a script of the same base name, and base names order what runs")
  func replacement() throws {
    let scripts = try NodescriptTree.resolve([
      ("vnfs/debian", ["/v/10-hostname", "/v/20-net", "/v/90-last"]),
      ("all", ["/a/10-hostname", "/a/15-extra"]),
      ("group/gpu", ["/g/20-net.server"]),
      ("node/n0001", ["/n/10-hostname"]),
    ])
    #expect(scripts.map(\.name) == ["10-hostname", "15-extra", "20-net", "90-last"])
    #expect(scripts.map(\.level) == ["node/n0001", "all", "group/gpu", "vnfs/debian"])
    #expect(scripts[0].replaced == ["vnfs/debian", "all"])
    #expect(scripts.map(\.isServer) == [false, false, true, false])
  }

  @Test(
    "What does not begin with two digits and a hyphen is no nodescript",
    arguments: ["README", ".10-x", "1-x", "10x", "10-", "10-a~", "10-a b", "10-a.bak"])
  func ignored(file: String) { #expect(NodescriptTree.baseName(file) == nil) }

  @Test("Two scripts of one base name in one directory are refused by name")
  func twice() {
    #expect(throws: ApplianceError.self) { try NodescriptTree.resolve([("all", ["/a/10-x", "/a/10-x.server"])]) }
  }

  @Test("Scripts are read live, for the levels of the node alone")
  func live() throws {
    let directory = try TestDirectory()
    let tree = NodescriptTree(directory: directory.path)
    #expect(try tree.scripts(state: "init", vnfs: "v", groups: ["g"], node: "n").isEmpty)
    try directory.write("echo all\n", to: "init/all/10-a")
    try directory.write("echo other\n", to: "init/group/other/11-b")
    try directory.write("echo mine\n", to: "init/group/g/12-c")
    let scripts = try tree.scripts(state: "init", vnfs: "v", groups: ["g"], node: "n")
    #expect(scripts.map(\.name) == ["10-a", "12-c"])
    #expect(try tree.read(scripts[0]) == Array("echo all\n".utf8))
    #expect(throws: ApplianceError.self) { try tree.scripts(state: "../init", vnfs: "v", groups: ["g"], node: "n") }
  }

  private func run(_ text: String, seconds: Int = 20) async throws -> String {
    let script = Nodescript(name: "10-x", level: "all", path: "/x/10-x.server", isServer: true, replaced: [])
    let output = try await ServerScript(timeLimit: seconds).run(
      script, content: Array(text.utf8), environment: ["NODENAME": "n0007"])
    return String(decoding: output, as: UTF8.self)
  }

  @Test(
    "A .server script runs here with the node's environment, unprivileged, and what it prints is what the node runs")
  func server() async throws {
    #expect(try await run("echo \"echo $NODENAME\"\n") == "echo n0007\n")
    #expect(try await run("#!/bin/sh -e\nid -u\n") != "0\n")
    #expect(try await run("#!/bin/sh\ncat\npwd\n") == "/\n")
  }

  @Test("A .server script that fails, never ends, prints without end or has no interpreter is an error that says so")
  func serverFailures() async throws {
    for (text, words) in [
      ("exit 3\n", "exit code 3"), ("kill -9 $$\n", "signal 9"), ("#!/nonexistent/sh\n", "cannot be started"),
      ("yes\n", "printed more than"),
    ] {
      let error = try await #require(throws: ApplianceError.self) { _ = try await run(text) }
      #expect(error.message.contains(words), "\(error)")
    }
    let late = try await #require(throws: ApplianceError.self) {
      _ = try await run("sleep 1000 & sleep 1000\n", seconds: 1)
    }
    #expect(late.message.contains("within 1 seconds"))
  }
}
