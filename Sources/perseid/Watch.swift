import ArgumentParser
import FoundationEssentials
import Provisioner

/// `perseid watch [NODE]`: what happens, as it happens, until Ctrl-C.
struct Watch: AsyncParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Follow boots live, until Ctrl-C.")

  @Argument(help: "Only this node (default: all).", completion: Names.nodes)
  var node: String?

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  func run() async throws {
    do {
      try await interruptible { try await follow() }
    } catch is CancellationError {
      // Ctrl-C is how it ends.
    }
  }

  private func follow() async throws {
    try await Access.with(common) { access in
      let request = AdminRequest(.get, ["events"], query: AdminRequest.nodes(node.map { [$0] } ?? []))
      var lines = EventLines()
      let view = TimelineView(start: .now, width: terminalWidth(), showsNames: node == nil)
      var isHeaded = output.json
      try await access.connection.stream(request) { piece in
        if !isHeaded { try show(view.heading) }
        isHeaded = true
        for json in try lines.take(piece) {
          if output.json {
            try show(String(decoding: json, as: UTF8.self) + "\n")
          } else {
            try show(view.line(try Access.decode(json)))
          }
        }
      }
    }
  }
}

/// Takes server-sent events apart: the bytes behind each `data: `, line by line.
struct EventLines {
  private var rest: [UInt8] = []
  /// Longest line that is kept, in bytes.
  private static let limit = 1 << 20

  mutating func take(_ piece: [UInt8]) throws -> [[UInt8]] {
    rest += piece
    guard rest.count <= Self.limit else { throw ApplianceError(.failed, "The appliance sends lines without an end.") }
    var found: [[UInt8]] = []
    var lines = rest.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
    rest = lines.popLast().map(Array.init) ?? []
    for line in lines where line.starts(with: "data: ".utf8) { found.append(Array(line.dropFirst(6))) }
    return found
  }
}
