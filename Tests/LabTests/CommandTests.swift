import Foundation
import Lab
import NetworkTypes
import Testing

@Suite("A command of the lab") struct CommandTests {
  @Test func `gives back its exit code and both outputs`() async throws {
    let result = try await Command("sh", "-c", "echo out; echo err >&2; exit 3").run()
    #expect(result.status == .exited(3))
    #expect(result.output == "out\n")
    #expect(result.errors == "err\n")
    #expect(!result.succeeded)
    #expect(throws: LabError.self) { try result.check() }
  }

  @Test func `is killed with everything it started when its time is over`() async throws {
    let lock = FileManager.default.temporaryDirectory.appending(path: "perseid-lock-\(UUID().uuidString)").path
    defer { unlink(lock) }
    let script = "exec 9>\(lock); flock 9; sleep 1000 & exec sleep 1000"
    let result = try await Command("sh", "-c", script).run(timeout: .milliseconds(500))
    #expect(result.timedOut)
    #expect(result.status == .killed(signal: 9))
    // Who lives holds the lock.
    #expect(try await Command("flock", "--timeout", "60", lock, "true").run().succeeded)
  }

  @Test func `is killed when it says more than is kept`() async throws {
    let result = try await Command("yes").run(outputLimit: 10_000)
    #expect(result.overflowed)
    #expect(!result.timedOut)
    #expect(result.output.utf8.count == 10_000)
  }

  @Test func `that does not exist is an error that names it`() async throws {
    let error = await #expect(throws: LabError.self) { try await Command("no-such-program").run() }
    #expect(error?.description.contains("no-such-program") == true)
  }

  @Test func `reads its input, and may end without reading it`() async throws {
    #expect(try await Command("cat").run(input: "hello").output == "hello")
    #expect(try await Command("true").run(input: String(repeating: "x", count: 1 << 20)).succeeded)
  }

  @Test func `runs in its directory with its environment`() async throws {
    let command = Command(["sh", "-c", "pwd; echo $WORD"], environment: ["WORD": "blue"], directory: "/")
    #expect(try await command.run().check().output == "/\nblue\n")
  }
}

@Suite("A running process of the lab") struct RunningProcessTests {
  @Test func `is waited for by what it says`() async throws {
    let process = try RunningProcess(Command("sh", "-c", "echo ready; printf 'login: '; read x; echo never"))
    try await process.log.line(containing: "ready", within: .seconds(60))
    try await process.log.line(containing: "login:", within: .seconds(60))
    try await process.exit(within: .seconds(60))
  }

  @Test func `that ends without saying it ends the wait at once`() async throws {
    let process = try RunningProcess(Command("sh", "-c", "echo broken; exit 1"))
    let error = await #expect(throws: LabError.self) {
      try await process.log.line(containing: "ready", within: .seconds(60))
    }
    #expect(error?.description.contains("broken") == true)
    #expect(try await process.exit(within: .seconds(60)) == .exited(1))
  }

  @Test func `loses its terminal control sequences in the log`() async throws {
    let process = try RunningProcess(Command("printf", "\\033[0;32m  OK  \\033[0m Reached\\r\\n"))
    try await process.exit(within: .seconds(60))
    #expect(process.log.lines == ["  OK   Reached"])
  }

  @Test func `ends on SIGTERM, or with SIGKILL where it does not listen`() async throws {
    let polite = try RunningProcess(Command("sleep", "1000"))
    #expect(await polite.stop() == .killed(signal: 15))
    let deaf = try RunningProcess(Command("sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 1; done"))
    try await deaf.log.line(containing: "deaf", within: .seconds(60))
    #expect(await deaf.stop(patience: .milliseconds(100)) == .killed(signal: 9))
  }
}

@Suite("Network namespaces of the lab", .enabled(if: NetworkNamespace.isAvailable, "in-private-namespaces"))
struct NetworkNamespaceTests {
  @Test func `are joined by a bridge and by cables`() async throws {
    try await NetworkNamespace.with("left") { left in
      try await NetworkNamespace.with("right") { right in
        try await left.makeBridge("br0")
        try await left.configure("br0", address: .init(10, 0, 0, 1))
        try await left.connect("port0", to: right, "eth0")
        try await left.plug("port0", into: "br0")
        try await left.makeTap("tap0", into: "br0")
        try await right.configure("eth0", address: .init(10, 0, 0, 2))
        try await right.command("ping", "-c", "1", "-W", "5", "10.0.0.1").run().check()
      }
    }
  }
}
