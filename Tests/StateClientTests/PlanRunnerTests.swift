import CapsuleFormat
import Glibc
import StateClient
import StateProtocol
import TestSupport
import Testing

@Suite("The plan runner")
struct PlanRunnerTests {
  /// Stage 1 and the running node are both like this, with a root of their own.
  final class Host: PlanHost {
    let base = "/tmp/perseid-plan-\(getpid())-\(UInt64.random(in: 0 ... .max))"
    var destination: String { base + "/root" }
    var workDirectory: String { base + "/work" }
    let retrySeconds = 0.01
    var events: [StepEvent] = []
    var lines: [String] = []
    var rootsFilled = 0

    init() {
      try? SmallFile.makeDirectories(destination)
    }

    deinit {
      _ = try? ScriptRunner().run("/bin/rm", arguments: ["-rf", base], environment: [:])
    }

    func say(_ line: String) { lines.append(line) }
    func echo(_ bytes: UnsafeRawBufferPointer) {}
    func report(_ event: StepEvent, through client: inout StateClient) { events.append(event) }
    func reap() {}
    var meanwhileDo: () -> Void = {}
    func meanwhile() { meanwhileDo() }
    var generation: Digest?
    func synchronised(with generation: Digest) { self.generation = generation }
    func fillRoot(_ step: Step, _ root: Step.Root, through client: inout StateClient) throws {
      rootsFilled += 1
      try SmallFile.makeDirectories(destination + "/etc")
    }

    var outcomes: [String] { events.map { "\($0.step) \($0.outcome)" } }
  }

  /// A plan of steps and the content that a server has for them.
  struct Fixture {
    var plan = Plan(state: "init", boot: nil, nodeName: "n0001", environment: ["NODENAME": "n0001"], steps: [])
    var contents: [String: [UInt8]] = [:]

    mutating func add(
      _ name: String, _ text: String, kind: Step.Kind = .script, onFailure: Step.FailurePolicy = .stop,
      path: String? = nil, mode: UInt32? = nil, owner: String? = nil, group: String? = nil, root: Step.Root? = nil
    ) {
      let bytes = Array(text.utf8)
      let digest = Digest.ofContent(bytes)
      contents[digest.hexadecimal] = bytes
      plan.steps.append(
        Step(
          name: name, kind: kind, level: "all", length: Int64(bytes.count), digest: digest, onFailure: onFailure,
          path: path, mode: mode, owner: owner, group: group, root: root))
    }

    func follow(_ host: Host) throws {
      let contents = contents
      let server = try ScriptedServer { request, _ in
        let name = request.split(separator: " ")[1].split(separator: "/").last.map(String.init) ?? ""
        return .send(contents[name].map { answer(200, $0) } ?? answer(404))
      }
      try server.serving {
        var client = StateClient(server: server.endpoint)
        var runner = PlanRunner(host: host)
        try runner.follow(plan, through: &client)
      }
    }
  }

  @Test("has the host do other things while a script runs")
  func meanwhile() throws {
    let host = Host()
    var fixture = Fixture()
    let sign = host.base + "/sign"
    host.meanwhileDo = { try? SmallFile.write(sign, []) }
    fixture.add("waits", "for i in $(seq 300); do test -e \(sign) && exit 0; sleep 0.1; done; exit 1\n")
    try fixture.follow(host)
    #expect(host.outcomes == ["waits started", "waits done"])
  }

  @Test("does the steps in order, with the plan's environment and DESTDIR")
  func runsInOrder() throws {
    let host = Host()
    var fixture = Fixture()
    fixture.add("10-a", "#!/bin/sh\necho $NODENAME $STATE ${0##*/} > $DESTDIR/a\n")
    fixture.add("20-b", "#!/bin/sh\ncat $DESTDIR/a\n")
    try fixture.follow(host)
    #expect(host.outcomes == ["10-a started", "10-a done", "20-b started", "20-b done"])
    #expect(host.events.last?.detail == "n0001 init 10-a\n")
    #expect(host.events.last?.exitCode == 0)
  }

  @Test(
    "takes another generation over, runs its hook there, and is of that generation only if that ends well",
    .enabled(if: geteuid() == 0), arguments: [0, 3])
  func livesync(code: Int) throws {
    let host = Host()
    _ = try ScriptRunner().run(
      "/bin/sh",
      arguments: [
        "-ec",
        """
        cd "$HERE"; mkdir -p new/etc new/hooks "$DESTDIR/etc"; echo new >new/etc/file; : >new/etc/.wh.gone; echo old >"$DESTDIR/etc/gone"
        printf '#!/bin/sh\\necho $VNFS $GENERATION $(cat $DESTDIR/etc/file)\\nexit \(code)\\n' >new/hooks/livesync
        chmod 755 new/hooks/livesync; tar -C new -cf - etc hooks | zstd -q >blob
        """,
      ],
      environment: ["PATH": "/usr/bin:/bin", "DESTDIR": host.destination, "HERE": host.base])
    let blob = try SmallFile.read(host.base + "/blob")
    let digest = Digest.ofContent(blob)
    let generation = Digest.ofContent([1])
    var fixture = Fixture()
    fixture.contents[digest.hexadecimal] = blob
    fixture.plan.state = "ready"
    fixture.plan.environment["VNFS"] = "acme"
    fixture.plan.steps.append(
      Step(
        name: "livesync", kind: .livesync, level: "built-in", length: Int64(blob.count), digest: digest,
        onFailure: .goOn, livesync: .init(generation: generation, number: 7, hook: "/hooks/livesync", note: "a note")))
    #expect(PlanCheck.fault(in: fixture.plan) == nil)
    try fixture.follow(host)
    #expect(host.outcomes == ["livesync started", code == 0 ? "livesync done" : "livesync failed"])
    #expect(host.events.last?.detail?.contains("; a note") == true)
    #expect(host.events.last?.detail?.contains("acme 7 new") == true)
    #expect(host.generation == (code == 0 ? generation : nil))
    #expect(!SmallFile.exists(host.destination + "/etc/gone") && SmallFile.exists(host.destination + "/etc/file"))
  }

  @Test("runs nothing where any content is missing or is not as promised")
  func verifiesBeforeRunning() throws {
    let host = Host()
    var fixture = Fixture()
    fixture.add("10-a", "#!/bin/sh\ntouch $DESTDIR/ran\n")
    fixture.add("20-b", "#!/bin/sh\n:\n")
    fixture.contents[fixture.plan.steps[1].digest.hexadecimal] = Array("#!/bin/sh\nx\n".utf8)
    let failure = #expect(throws: PlanFailure.self) { try fixture.follow(host) }
    #expect(failure?.step == "20-b")
    #expect(!SmallFile.exists(host.destination + "/ran"))
    #expect(host.outcomes == ["20-b failed"])
  }

  @Test("goes on, tries again or stops as the step's policy says")
  func obeysPolicy() throws {
    let host = Host()
    var fixture = Fixture()
    fixture.add("10-goes-on", "#!/bin/sh\nexit 5\n", onFailure: .goOn)
    let second = "#!/bin/sh\n[ -e $DESTDIR/second ] || { touch $DESTDIR/second; exit 6; }\n"
    fixture.add("20-retries", second, onFailure: .retry)
    fixture.add("30-stops", "#!/bin/sh\necho no such disk; exit 7\n", onFailure: .stop)
    fixture.add("40-never", "#!/bin/sh\n:\n")
    let failure = #expect(throws: PlanFailure.self) { try fixture.follow(host) }
    #expect(failure?.description == "step 30-stops: exit code 7, 'no such disk'")
    #expect(
      host.outcomes == [
        "10-goes-on started", "10-goes-on failed", "20-retries started", "20-retries failed", "20-retries started",
        "20-retries done", "30-stops started", "30-stops failed",
      ])
    #expect(host.events[1].exitCode == 5)
    #expect(host.lines.count == 6)
  }

  @Test("gives up on a step that fails each time it is tried")
  func boundsRetries() throws {
    let host = Host()
    var fixture = Fixture()
    fixture.add("10-never-works", "#!/bin/sh\nexit 1\n", onFailure: .retry)
    #expect(throws: PlanFailure.self) { try fixture.follow(host) }
    #expect(host.outcomes.filter { $0 == "10-never-works failed" }.count == 3)
  }

  @Test("tries a step again as often as the plan says, and ends a script whose time is over")
  func ownBounds() throws {
    let host = Host()
    var fixture = Fixture()
    fixture.add("10-again", "#!/bin/sh\nexit 1\n", onFailure: .retry)
    fixture.plan.steps[0].retries = 4
    #expect(throws: PlanFailure.self) { try fixture.follow(host) }
    #expect(host.outcomes.filter { $0 == "10-again failed" }.count == 5)
    let other = Host()
    var endless = Fixture()
    endless.add("10-endless", "#!/bin/sh\nwhile :; do :; done\n", onFailure: .goOn)
    endless.add("20-next", "#!/bin/sh\n:\n")
    endless.plan.steps[0].timeoutSeconds = 1
    try endless.follow(other)
    #expect(other.outcomes == ["10-endless started", "10-endless failed", "20-next started", "20-next done"])
    #expect(other.events[1].detail?.contains("(ended after 1 s)") == true && other.events[1].exitCode == 143)
  }

  @Test("knows plans that cannot be followed before anything of them is done")
  func faults() throws {
    var fixture = Fixture()
    fixture.add("10-a", "x")
    #expect(PlanCheck.fault(in: fixture.plan) == nil)
    let spoilt: [(String, (inout Plan) -> Void)] = [
      ("may take 0 s", { $0.steps[0].timeoutSeconds = 0 }),
      ("tried again 1000 times", { $0.steps[0].retries = 1000 }),
      ("next state is in -1 s", { $0.nextSeconds = -1 }),
    ]
    for (words, spoil) in spoilt {
      var plan = fixture.plan
      spoil(&plan)
      #expect(PlanCheck.fault(in: plan)?.contains(words) == true)
    }
  }

  @Test("puts files into the root with their modes, those before the root when it is there")
  func placesFiles() throws {
    let host = Host()
    var fixture = Fixture()
    let digest = Digest.ofContent([])
    fixture.add("10-early", "early\n", kind: .file, path: "/etc/early", mode: 0o600)
    fixture.add(
      "50-root", "", kind: .root,
      root: .init(
        mode: "ram", generation: digest, blob: Descriptor(mediaType: "x", digest: digest, size: 0), bytes: 0,
        entries: 0))
    fixture.add("60-late", "late\n", kind: .file, path: "/etc/deep/er/late")
    symlink("/etc", host.destination + "/link")
    fixture.add("70-linked", "linked\n", kind: .file, path: "/link/linked")
    try fixture.follow(host)
    #expect(host.rootsFilled == 1)
    #expect(SmallFile.text(host.destination + "/etc/early") == "early")
    #expect(SmallFile.text(host.destination + "/etc/deep/er/late") == "late")
    #expect(SmallFile.text(host.destination + "/etc/linked") == "linked")
    var status = stat()
    stat(host.destination + "/etc/early", &status)
    #expect(status.st_mode & 0o7777 == 0o600)
    #expect(SmallFile.names(in: host.workDirectory + "/0").isEmpty)
  }

  @Test("gives a file to whom the node's own accounts name, never through a link out of its root")
  func ownsFiles() throws {
    let host = Host()
    let root = RootedPath(host.destination)
    try root.replace("/etc/passwd", with: Array("root:x:0:0::/:\nmunge:x:\(geteuid()):1::/:\n".utf8), mode: 0o644)
    try root.replace("/etc/group", with: Array("munge:x:\(getegid()):\n".utf8), mode: 0o644)
    let outside = host.base + "/outside"
    try SmallFile.write(outside, Array("theirs".utf8))
    symlink(outside, host.destination + "/etc/linked")
    symlink("../../../../../../../..", host.destination + "/etc/up")
    var fixture = Fixture()
    fixture.add("55-key", "key", kind: .file, path: "/etc/munge/key", mode: 0o400, owner: "munge", group: "munge")
    fixture.add("56-linked", "ours", kind: .file, path: "/etc/linked")
    fixture.add("57-up", "up", kind: .file, path: "/etc/up/climbed")
    fixture.add("58-nobody", "x", kind: .file, onFailure: .goOn, path: "/etc/nobody", owner: "slurm")
    fixture.add("59-key-again", "key", kind: .file, path: "/etc/munge/key", mode: 0o400, owner: "munge", group: "munge")
    try fixture.follow(host)
    var status = stat()
    stat(host.destination + "/etc/munge/key", &status)
    #expect(status.st_mode & 0o7777 == 0o400 && status.st_uid == geteuid() && status.st_gid == getegid())
    #expect(SmallFile.text(outside) == "theirs" && SmallFile.text(host.destination + "/etc/linked") == "ours")
    #expect(SmallFile.text(host.destination + "/climbed") == "up")
    #expect(!SmallFile.exists(host.destination + "/etc/nobody"))
    #expect(
      host.events.first { $0.step == "58-nobody" && $0.outcome == .failed }?.detail?.contains("no 'slurm'") == true)
    #expect(host.events.last?.detail == "/etc/munge/key is as it should be")
    #expect(SmallFile.names(in: host.destination + "/etc/munge") == ["key"])
  }
}
