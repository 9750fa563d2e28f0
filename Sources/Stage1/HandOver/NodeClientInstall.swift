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

  package static let openRC = """
    #!/sbin/openrc-run
    description="Perseid node client (provisionary state, lease)"
    command="\(path)"
    command_args="run"
    command_background=true
    pidfile="/run/perseid/perseid-node.pid"
    depend() {
      after *
    }

    """

  /// What an init with rc scripts alone runs at its end.
  package static let plain = """
    # Perseid node client (provisionary state, lease)
    \(path) run </dev/null >/dev/null 2>&1 &

    """

  /// - Parameters:
  ///   - program: The client's program file: stage 1's own.
  ///   - runtime: Where systemd looks for units of this boot alone: the root itself stays as the capsule has it.
  package static func install(
    into root: RootedPath, program: String = "/init", runtime: String = "/run/systemd/system",
    say: (String) -> Void
  ) throws {
    try copy(program, to: path, in: root)
    switch initSystem(of: root) {
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
    case .inittab(let line):
      try append(line, to: "/etc/inittab", in: root, mode: 0o644)
    case .rcLocal:
      try append(plain, to: "/etc/rc.local", in: root, mode: 0o755)
    case .none:
      say("the root has no init that is known here: perseid-node is not started, and 'ready' will not be reported")
    }
  }

  package enum InitSystem: Hashable, Sendable {
    case systemd
    case openRC
    /// The line that starts the client and starts it again.
    case inittab(String)
    case rcLocal
    case none
  }

  package static func initSystem(of root: RootedPath) -> InitSystem {
    if root.exists("/lib/systemd/systemd") || root.exists("/usr/lib/systemd/systemd") { return .systemd }
    if root.exists("/sbin/openrc-run") { return .openRC }
    if root.exists("/etc/inittab") {
      let isBusybox = (try? root.resolve("/sbin/init"))?.hasSuffix("/busybox") ?? false
      return .inittab(isBusybox ? "::respawn:\(path) run\n" : "pn:2345:respawn:\(path) run\n")
    }
    return root.exists("/etc/rc.local") || root.exists("/etc/init.d/rcS") ? .rcLocal : .none
  }

  private static func append(_ text: String, to path: String, in root: RootedPath, mode: mode_t) throws {
    let place = try root.resolve(path)
    var content = SmallFile.exists(place) ? try SmallFile.read(place) : Array("#!/bin/sh\n".utf8)
    guard !String(decoding: content, as: UTF8.self).contains(Self.path) else { return }
    // A script may end with `exit 0`: the client is started before that.
    let body = String(decoding: content, as: UTF8.self)
    if let end = body.range(ofLine: "exit 0") {
      content = Array((body[..<end] + text + body[end...]).utf8)
    } else {
      content += Array(((body.hasSuffix("\n") ? "" : "\n") + text).utf8)
    }
    try root.replace(path, with: content, mode: mode)
  }

  private static func copy(_ program: String, to path: String, in root: RootedPath) throws {
    let place = try root.resolve(path)
    try SmallFile.makeDirectories(String(place[..<(place.lastIndex(of: "/") ?? place.startIndex)]))
    unlink(place)
    let input = try OpenFile(program, flags: O_RDONLY)
    let output = try OpenFile(place, flags: O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o755)
    // From page to page in the kernel: the program is some 20 MB.
    var copied = 1
    while copied > 0 {
      copied = try check("copy \(program) to \(place)") { sendfile(output.descriptor, input.descriptor, nil, 64 << 20) }
    }
    try check("set the mode of \(place)") { fchmod(output.descriptor, 0o755) }
  }
}

extension String {
  /// Where the last line that is exactly `line` begins.
  fileprivate func range(ofLine line: String) -> String.Index? {
    var found: String.Index?
    var start = startIndex
    while start < endIndex {
      let end = self[start...].firstIndex(of: "\n") ?? endIndex
      if self[start..<end] == line { found = start }
      start = end < endIndex ? index(after: end) : endIndex
    }
    return found
  }
}
