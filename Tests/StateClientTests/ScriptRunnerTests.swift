import CapsuleFormat
import Glibc
import StateClient
import Testing

@Suite("The script runner")
struct ScriptRunnerTests {
  func script(_ text: String, _ body: (String) throws -> Void) throws {
    let path = "/tmp/perseid-script-\(getpid())-\(UInt64.random(in: 0 ... .max))"
    try SmallFile.write(path, Array(text.utf8), mode: 0o700)
    defer { unlink(path) }
    try body(path)
  }

  @Test("gives exit code, both outputs and only the environment it was given")
  func runs() throws {
    try script("#!/bin/sh\necho out $COLOUR ${HOME-none}\necho err >&2\nexit 3\n") { path in
      var echoed: [UInt8] = []
      let result = try ScriptRunner().run(path, environment: ["COLOUR": "red"]) { echoed += $0 }
      #expect(result.exitCode == 3)
      #expect(result.output == "out red none\nerr\n")
      #expect(echoed == Array(result.output.utf8))
      #expect(!result.wasEnded)
    }
  }

  @Test("runs a script without #! with the shell")
  func runsWithoutInterpreter() throws {
    try script("echo plain\n") { path in
      let result = try ScriptRunner().run(path, environment: ["PATH": "/bin:/usr/bin"])
      #expect(result.output == "plain\n")
    }
  }

  @Test("gives 128 and the signal where a signal ended it")
  func reportsSignals() throws {
    try script("#!/bin/sh\nkill -9 $$\n") { path in
      let result = try ScriptRunner().run(path, environment: ["PATH": "/bin:/usr/bin"])
      #expect(result.exitCode == 137)
    }
  }

  @Test("keeps the last 4096 bytes of output")
  func boundsOutput() throws {
    try script("#!/bin/sh\ni=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done\n") { path in
      let result = try ScriptRunner().run(path, environment: [:])
      #expect(result.output.utf8.count == 4096)
      #expect(result.output.hasSuffix("line 4999\n"))
    }
  }

  @Test("ends a script whose time is over, and its children with it")
  func endsAtLimit() throws {
    // Script and child hold a pipe open, which ends when the last of them has.
    let pipe = "/tmp/perseid-pipe-\(getpid())-\(UInt64.random(in: 0 ... .max))"
    try #require(mkfifo(pipe, 0o600) == 0)
    defer { unlink(pipe) }
    let reading = open(pipe, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
    try #require(reading >= 0)
    defer { close(reading) }
    try script("#!/bin/sh\ntrap '' TERM\nexec 3>\(pipe)\nsleep 1000 &\nwait; sleep 1000\n") { path in
      var runner = ScriptRunner()
      runner.timeLimit = 0.3
      runner.grace = 0.2
      let result = try runner.run(path, environment: ["PATH": "/bin:/usr/bin"])
      #expect(result.wasEnded)
      #expect(result.exitCode == 137)
      var entry = pollfd(fd: reading, events: Int16(POLLIN), revents: 0)
      #expect(poll(&entry, 1, 60_000) == 1, "a child lives on")
    }
  }

  @Test("does not wait for what a script leaves running in the background")
  func leavesBackground() throws {
    try script("#!/bin/sh\nsleep 1000 & echo $!\n") { path in
      let result = try ScriptRunner().run(path, environment: ["PATH": "/bin:/usr/bin"])
      #expect(result.exitCode == 0)
      #expect(result.seconds < 500)
      if let child = pid_t(result.output.split(separator: "\n").first ?? "") { kill(child, SIGKILL) }
    }
  }

  @Test("names the program that could not be started")
  func reportsMissingInterpreter() throws {
    try script("#!/no/such/interpreter\n") { path in
      let error = #expect(throws: SystemError.self) { try ScriptRunner().run(path, environment: [:]) }
      #expect(error?.description == "start \(path): No such file or directory")
    }
  }
}
