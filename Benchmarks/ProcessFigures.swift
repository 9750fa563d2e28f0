import Foundation
import Glibc

/// What the kernel says a process used.
enum ProcessFigures {
  /// Of the process and of those of its children that have ended.
  static func processorSeconds(_ pid: Int32) -> Double {
    guard let text = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8),
      let behindName = text.lastIndex(of: ")")
    else { return .nan }
    // proc(5): fields 14 to 17, and the third is the first behind the name.
    let fields = text[behindName...].dropFirst(2).split(separator: " ").dropFirst(11).prefix(4)
    return fields.reduce(0) { $0 + (Double($1) ?? 0) } / Double(sysconf(Int32(_SC_CLK_TCK)))
  }

  /// At most.
  static func residentBytes(_ pid: Int32) -> Double {
    let text = (try? String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)) ?? ""
    let line = text.split(separator: "\n").first { $0.hasPrefix("VmHWM:") }
    return (line?.split(separator: " ").dropFirst().first.flatMap { Double($0) } ?? .nan) * 1024
  }
}
