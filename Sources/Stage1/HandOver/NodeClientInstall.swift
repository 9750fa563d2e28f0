import Glibc
package import StateClient

/// Puts the client into the root and has the root's own init start it, whichever init that is.
package enum NodeClientInstall {
  package static let path = "/usr/lib/perseid/perseid-node"

  /// systemd's unit. Behind multi-user.target, which wants it: `ready` is said when the system is up.
  package static let unit = """
    [Unit]
    Description=Perseid node client (provisionary state, lease)
    After=multi-user.target

    [Service]
    ExecStart=\(path) run
    Restart=always
    RestartSec=5

    """

  /// OpenRC's own supervisor starts it again, as systemd would.
  package static let openRC = """
    #!/sbin/openrc-run
    description="Perseid node client (provisionary state, lease)"
    supervisor=supervise-daemon
    command="\(path)"
    command_args="run"
    respawn_delay=5
    respawn_max=0
    depend() {
      after *
    }

    """

  /// runit starts it again by itself, a second later.
  package static let runit = """
    #!/bin/sh
    # Perseid node client (provisionary state, lease)
    exec \(path) run 2>&1

    """

  /// What an init with rc scripts alone runs at its end.
  package static let plain = """
    # Perseid node client (provisionary state, lease)
    (while :; do \(path) run; sleep 5; done) </dev/null >/dev/null 2>&1 &

    """

  /// - Parameters:
  ///   - program: The client's program file: stage 1's own.
  ///   - initProgram: What becomes process 1, a path in the root.
  ///   - runtime: Where systemd looks for units of this boot alone: the root itself stays as the capsule has it.
  package static func install(
    into root: RootedPath, program: String = "/init", initProgram: String = "/sbin/init",
    runtime: String = "/run/systemd/system", say: (String) -> Void
  ) throws {
    try copy(program, to: path, in: root)
    switch initSystem(of: root, program: initProgram) {
    case .systemd:
      let wants = "\(runtime)/multi-user.target.wants"
      try SmallFile.makeDirectories(wants)
      try SmallFile.write("\(runtime)/perseid-node.service", Array(unit.utf8))
      let link = "\(wants)/perseid-node.service"
      unlink(link)
      try check("link \(link)") { symlink("../perseid-node.service", link) }
    case .openRC:
      try root.replace("/etc/init.d/perseid-node", with: Array(openRC.utf8), mode: 0o755)
      try root.link("/etc/runlevels/default/perseid-node", to: "/etc/init.d/perseid-node")
    case .runit(let services):
      try root.replace("\(services)/perseid-node/run", with: Array(runit.utf8), mode: 0o755)
    case .inittab(let line):
      try append(line, to: "/etc/inittab", in: root, mode: 0o644)
    case .script(let script):
      try append(plain, to: script, in: root, mode: 0o755)
    case .none:
      say("the root has no init that is known here: perseid-node is not started, and 'ready' will not be reported")
    }
  }

  package enum InitSystem: Hashable, Sendable {
    case systemd
    case openRC
    /// The directory whose entries runit supervises.
    case runit(services: String)
    /// The line that starts the client and starts it again.
    case inittab(String)
    /// The script that the init runs when the system is up.
    case script(String)
    case none
  }

  /// Several may be in one root: the program that becomes process 1 decides, where its name tells.
  /// - Parameter program: That program, a path in the root.
  package static func initSystem(of root: RootedPath, program: String = "/sbin/init") -> InitSystem {
    let name = (try? root.resolve(program))?.split(separator: "/").last ?? ""
    if name == "systemd" { return .systemd }
    if name.hasPrefix("runit") {
      let places = ["/etc/runit/runsvdir/default", "/etc/service", "/service"]
      return .runit(services: places.first { root.exists($0) } ?? "/etc/service")
    }
    if root.exists("/sbin/openrc-run") { return .openRC }
    if name == "busybox" {
      // Without an inittab busybox's init runs this script and, at its end, a shell.
      return root.exists("/etc/inittab") ? .inittab("::respawn:\(path) run\n") : .script("/etc/init.d/rcS")
    }
    // sysvinit takes no line whose first word another line has too; four characters are allowed.
    if root.exists("/etc/inittab") { return .inittab("prsd:2345:respawn:\(path) run\n") }
    if root.exists("/lib/systemd/systemd") || root.exists("/usr/lib/systemd/systemd") { return .systemd }
    return ["/etc/rc.local", "/etc/init.d/rcS"].first { root.exists($0) }.map { .script($0) } ?? .none
  }

  private static func append(_ text: String, to path: String, in root: RootedPath, mode: mode_t) throws {
    let place = try root.resolve(path)
    let body = SmallFile.exists(place) ? String(decoding: try SmallFile.read(place), as: UTF8.self) : "#!/bin/sh\n"
    guard !body.contains(Self.path) else { return }
    let end = body.endOfWhatIsRun
    let separator = body[..<end].hasSuffix("\n") ? "" : "\n"
    try root.replace(path, with: Array((body[..<end] + separator + text + body[end...]).utf8), mode: mode)
  }

  private static func copy(_ program: String, to path: String, in root: RootedPath) throws {
    let place = try root.resolve(path)
    try root.makeDirectory(of: place, label: SecurityLabel.expected(at: place))
    unlink(place)
    let input = try OpenFile(program, flags: O_RDONLY)
    let output = try OpenFile(place, flags: O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o755)
    // From page to page in the kernel: the program is some 20 MB.
    var copied = 1
    while copied > 0 {
      copied = try check("copy \(program) to \(place)") { sendfile(output.descriptor, input.descriptor, nil, 64 << 20) }
    }
    try check("set the mode of \(place)") { fchmod(output.descriptor, 0o755) }
    // As the system's other programs: a library's label would keep its init from running it.
    if let programs = try? root.resolve("/usr/bin") { SecurityLabel.set(SecurityLabel.of(programs), on: place) }
  }
}

extension String {
  /// The end of a script, or where its last command begins if that is one behind which nothing is run.
  fileprivate var endOfWhatIsRun: String.Index {
    var last: Substring?
    for line in split(separator: "\n") where !line.hasPrefix("#") && !line.allSatisfy(\.isWhitespace) { last = line }
    guard let last, last == "exit" || last.hasPrefix("exit ") || last.hasPrefix("exec ") else { return endIndex }
    return last.startIndex
  }
}
