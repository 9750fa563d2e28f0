import Foundation
import Glibc

/// What the system says of a server's process.
enum ServerProcess {
  /// Of the process and of those of its children that have ended.
  static func processorSeconds(_ pid: Int32) -> Double {
    guard let text = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8),
      let behindName = text.lastIndex(of: ")")
    else { return .nan }
    // proc(5): fields 14 to 17, and the third is the first behind the name.
    let fields = text[behindName...].dropFirst(2).split(separator: " ").dropFirst(11).prefix(4)
    return fields.reduce(0) { $0 + (Double($1) ?? 0) } / Double(sysconf(Int32(_SC_CLK_TCK)))
  }

  /// The most bytes of memory of its own (RssAnon) that were seen while `body` ran.
  static func largestMemory<Result>(_ pid: Int32, during body: () async throws -> Result) async throws -> (
    Result, Double
  ) {
    try await withThrowingTaskGroup(of: Double.self) { group in
      group.addTask {
        var largest = 0.0
        repeat { largest = max(largest, memory(pid)) } while (try? await Task.sleep(for: .milliseconds(50))) != nil
        return largest
      }
      let result = try await body()
      group.cancelAll()
      return (result, try await group.next() ?? .nan)
    }
  }

  /// The most bytes of memory that it had resident, those of files and of the kernel's packet buffers too.
  static func residentBytes(_ pid: Int32) -> Double { memory(pid, "VmHWM:") }

  private static func memory(_ pid: Int32, _ line: String = "RssAnon:") -> Double {
    let text = (try? String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)) ?? ""
    let found = text.split(separator: "\n").first { $0.hasPrefix(line) }
    return (found?.split(separator: " ").dropFirst().first.flatMap { Double($0) } ?? 0) * 1024
  }
}
