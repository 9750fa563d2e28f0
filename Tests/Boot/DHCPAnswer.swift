import Lab

/// What busybox's udhcpc was given on a host's `eth0`.
struct DHCPAnswer {
  /// The variables that udhcpc gives its script: `ip`, `boot_file`, `siaddr`, ...
  let variables: [String: String]

  var address: String? { variables["ip"] }
  /// The boot file's name, whether it came in the header or as option 67.
  var bootFile: String? { variables["boot_file"] ?? variables["bootfile"] }

  /// - Parameter options: More of udhcpc's, such as `-V PXEClient`.
  init(_ host: NetworkNamespace, _ options: String...) async throws {
    let directory = try ScratchDirectory.make()
    defer { ScratchDirectory.remove(directory) }
    let path = directory + "/answer"
    // Written by a child: were it open for writing here while another test starts a process, that process
    // would hold it open for a moment too, and it could not be executed (ETXTBSY).
    try await Command("sh", "-c", "cat > \"$0\" && chmod 755 \"$0\"", path)
      .run(input: "#!/bin/sh\n[ \"$1\" != bound ] || env\n").check()
    let command = Command(
      ["busybox", "udhcpc", "-f", "-i", "eth0", "-n", "-q", "-t", "5", "-T", "2", "-s", path] + options,
      namespace: host)
    let result = try await command.run(timeout: .seconds(30)).check()
    var variables: [String: String] = [:]
    for line in result.output.split(separator: "\n") {
      let parts = line.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      if parts.count == 2 { variables[String(parts[0])] = String(parts[1]) }
    }
    guard variables["ip"] != nil else { throw LabError("udhcpc bound no address: \(result.errors)") }
    self.variables = variables
  }

  /// As the iPXE or PXE ROM of a BIOS machine asks.
  static func asPXE(_ host: NetworkNamespace) async throws -> DHCPAnswer {
    try await DHCPAnswer(
      host, "-V", "PXEClient:Arch:00000:UNDI:002001", "-x", "0x5d:0000", "-x", "0x5e:010201",
      "-O", "bootfile", "-O", "tftp")
  }
}
