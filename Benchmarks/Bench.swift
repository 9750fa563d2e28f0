import Foundation
import Lab

/// Our figures beside the peers', measured in one run on one machine: `make bench`.
///
/// BENCH_ROUNDS says how often each boot is measured (2), BENCH_JSON names a file for the figures.
@main
struct Bench {
  static func main() async {
    do {
      guard NetworkNamespace.isAvailable else { throw LabError("the benchmark \(NetworkNamespace.unavailable)") }
      let environment = ProcessInfo.processInfo.environment
      let rounds = environment["BENCH_ROUNDS"] ?? "2"
      guard let rounds = Int(rounds), (1...100).contains(rounds) else {
        throw LabError("BENCH_ROUNDS=\(rounds) is not a number from 1 to 100")
      }
      let rows = try await BootComparison(rounds: rounds).run { say("bench: \($0)") }
      say("\n" + table(rows))
      if let file = environment["BENCH_JSON"], !file.isEmpty {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        try encoder.encode(rows).write(to: URL(fileURLWithPath: file), options: .atomic)
      }
    } catch {
      FileHandle.standardError.write(Data("bench: \(error)\n".utf8))
      exit(1)
    }
  }

  /// Prints a line at once, also into a pipe.
  private nonisolated static func say(_ line: String) {
    FileHandle.standardOutput.write(Data((line + "\n").utf8))
  }
}
