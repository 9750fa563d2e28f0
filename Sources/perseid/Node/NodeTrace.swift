import ArgumentParser
import Provisioner

/// `perseid node trace NAME -o FILE`
struct NodeTraceVerb: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "trace", abstract: "Write the packets of a node's boot to a file for Wireshark.",
    discussion: """
      First come the DHCP messages that the appliance kept of the node's last boots (in memory, some 30 of each \
      machine, gone when it restarts); then what passes, until the node is ready, a bound is reached, or Ctrl-C. \
      Contents of files are cut short; DHCP is whole.
      """)

  @Argument(help: "The node.", completion: Names.nodes)
  var node: String

  @Option(
    name: [.customShort("o"), .long], help: "The file (pcapng); - is standard output (default: NODE.pcapng).",
    completion: .file(extensions: ["pcapng"]))
  var output: String?

  @Flag(name: .long, help: "Only what was kept: do not wait for packets.")
  var kept = false

  @Option(name: .customLong("for"), help: "Seconds to wait for the node to be ready, at most.")
  var seconds = 600

  @Option(name: .long, help: "MiB of the file, at most.")
  var size = 64

  @OptionGroup var common: CommonOptions

  func validate() throws {
    guard (1...86400).contains(seconds) else { throw ValidationError("--for takes 1 to 86400 seconds.") }
    guard (1...4096).contains(size) else { throw ValidationError("--size takes 1 to 4096 MiB.") }
  }

  func run() async throws {
    let path = output ?? "\(node).pcapng"
    let file = try TraceFile(path: path, mayReplace: { try common.confirm("\(path) exists. Replace it?") })
    do {
      try await interruptible { try await follow(file) }
    } catch is CancellationError where file.hasBegun {
      file.end(because: "you ended it")
    } catch {
      file.discard()
      throw error
    }
    let summary = file.summary
    printError(
      "\(path): \(summary.packets) packets, \(summary.bytes) bytes; \(summary.ending ?? "the appliance broke off").")
    if summary.ending == nil { throw ExitCode(1) }
  }

  private func follow(_ file: TraceFile) async throws {
    var query: [(name: String, value: String)] = [("seconds", "\(seconds)"), ("bytes", "\(size << 20)")]
    if kept { query.append(("kept", "1")) }
    let request = AdminRequest(.get, ["nodes", node, "trace"], query: query)
    try await Access.with(common) { access in
      var isTold = kept
      try await access.connection.stream(request) { piece in
        try file.write(piece)
        guard !isTold else { return }
        isTold = true
        printError("\(node): waiting for its packets until it is ready; Ctrl-C ends the trace.")
      }
    }
  }
}
