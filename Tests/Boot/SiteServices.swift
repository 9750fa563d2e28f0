import Foundation
import Lab

/// What a site's server has besides the appliance: the time, munge, and files by NFS, each by the program that sites use.
struct SiteServices {
  static let greeting = "hello from the server"
  /// The key that the site's machines share.
  let mungeKey: String
  /// A credential of the server's, with "from the server" in it, which can be decoded for an hour.
  let credential: String
  /// What is exported as /share.
  let share: String
  /// The NFS server opens files by their handles, which takes root's rights outside of user namespaces.
  let hasNFS: Bool
  private let site: Site
  private let socket: String
  private let processes: [RunningProcess]

  init(_ site: Site) async throws {
    self.site = site
    let directory = site.directory + "/services"
    share = directory + "/share"
    for name in ["share", "recovery"] {
      try FileManager.default.createDirectory(atPath: "\(directory)/\(name)", withIntermediateDirectories: true)
    }
    var processes: [RunningProcess] = []

    let time = directory + "/chrony.conf"
    try """
    local stratum 8
    allow 10.77.0.0/24
    cmdport 0
    bindcmdaddress /
    pidfile \(directory)/chronyd.pid
    driftfile \(directory)/drift
    """.write(toFile: time, atomically: true, encoding: .utf8)
    // -x: it leaves the clock of this machine alone.
    processes.append(
      try RunningProcess(site.server.command("chronyd", "-x", "-d", "-u", "root", "-f", time)))

    mungeKey = directory + "/munge.key"
    socket = directory + "/munge.socket"
    try Data((0..<128).map { _ in UInt8.random(in: .min ... .max) }).write(to: URL(filePath: mungeKey))
    try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: mungeKey)
    let munged = try RunningProcess(
      site.server.command(
        "munged", "--foreground", "--force", "--socket=\(socket)", "--key-file=\(mungeKey)",
        "--pid-file=\(directory)/munged.pid", "--seed-file=\(directory)/munge.seed"))
    processes.append(munged)
    try await munged.log.line(containing: "Created socket", within: .seconds(60))
    credential = try await site.server.command(
      "munge", "--socket=\(socket)", "--ttl=3600", "-s", "from the server\n"
    ).run().check().output.trimmingCharacters(in: .whitespacesAndNewlines)

    let users = (try? String(contentsOfFile: "/proc/self/uid_map", encoding: .utf8)) ?? ""
    hasNFS = users.split(separator: " ").last?.hasPrefix("4294967295") == true
    if hasNFS {
      try "\(Self.greeting)\n".write(toFile: share + "/greeting", atomically: true, encoding: .utf8)
      let configuration = directory + "/ganesha.conf"
      try """
      NFS_CORE_PARAM { Protocols = 4; Enable_NLM = false; Enable_RQUOTA = false; }
      NFSV4 { Graceless = true; RecoveryBackend = fs; RecoveryRoot = \(directory)/recovery; Only_Numeric_Owners = true; }
      EXPORT {
        Export_Id = 1; Path = \(share); Pseudo = /share; Protocols = 4; Transports = TCP; Access_Type = RW;
        Squash = No_Root_Squash; SecType = sys; FSAL { Name = VFS; }
      }
      """.write(toFile: configuration, atomically: true, encoding: .utf8)
      let server = try RunningProcess(
        site.server.command(
          "ganesha.nfsd", "-F", "-f", configuration, "-L", "STDERR", "-p", directory + "/ganesha.pid"))
      processes.append(server)
      try await server.log.line(containing: "NFS SERVER INITIALIZED", within: .seconds(60))
    }
    self.processes = processes
  }

  /// What a credential of another machine says, as the server's munge decodes it.
  func decode(_ credential: String) async throws -> String {
    let file = site.directory + "/credential"
    try credential.write(toFile: file, atomically: true, encoding: .utf8)
    return try await site.server.command("unmunge", "--socket=\(socket)", "--input=\(file)").run().check().output
  }

  /// Ends the servers.
  func signal() {
    for process in processes { process.signal(9) }
  }
}
