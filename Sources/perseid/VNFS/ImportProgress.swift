import Capsule
import Glibc
import Synchronization

/// Shows how far a build is: a bar that is redrawn on a terminal, a line for each phase elsewhere.
final class ImportProgress: Sendable {
  private struct State {
    var phase: BuildProgress.Phase?
    /// When the phase began.
    var began = ContinuousClock.now
    var lastDrawn: ContinuousClock.Instant?
    var isLineOpen = false
  }

  private let state = Mutex(State())
  private let isTerminal = isatty(STDERR_FILENO) == 1

  func report(_ progress: BuildProgress) {
    state.withLock { state in
      if let note = progress.note, !note.isEmpty {
        close(&state)
        printError(note)
      }
      let isNewPhase = progress.phase != state.phase
      state.phase = progress.phase
      if isNewPhase { state.began = .now }
      guard progress.phase != .done else { return close(&state) }
      if isTerminal {
        let now = ContinuousClock.now
        if !isNewPhase, let last = state.lastDrawn, now - last < .milliseconds(100) { return }
        state.lastDrawn = now
        state.isLineOpen = true
        write(to: STDERR_FILENO, "\r\u{1B}[K" + line(progress, seconds: (now - state.began) / .seconds(1)))
      } else if isNewPhase {
        printError(Self.words(progress.phase))
      }
    }
  }

  /// Leaves the terminal as it was, however the build ended.
  func finish() {
    state.withLock { close(&$0) }
  }

  private func close(_ state: inout State) {
    if state.isLineOpen { write(to: STDERR_FILENO, "\r\u{1B}[K") }
    state.isLineOpen = false
  }

  /// - Parameter seconds: Since the phase began.
  private func line(_ progress: BuildProgress, seconds: Double) -> String {
    let words = Self.words(progress.phase)
    guard let total = progress.totalBytes, total > 0 else {
      return progress.completedBytes > 0 ? "\(words) \(Quantity.bytes(progress.completedBytes))" : words
    }
    let share = min(1, Double(progress.completedBytes) / Double(total))
    let filled = Int(share * 20)
    let bar = String(repeating: "#", count: filled) + String(repeating: ".", count: 20 - filled)
    return "\(words) [\(bar)] \(Int(share * 100)) %, \(Quantity.bytes(progress.completedBytes))"
      + Self.pace(done: progress.completedBytes, total: total, seconds: seconds)
  }

  /// Rate and remaining time, once there is enough to tell them by.
  private static func pace(done: Int64, total: Int64, seconds: Double) -> String {
    guard seconds >= 1, done > 0 else { return "" }
    let rate = Double(done) / seconds
    let left = Int((Double(max(0, total - done)) / rate).rounded(.up))
    let time = left >= 60 ? "\(left / 60) min \(left % 60) s" : "\(left) s"
    return ", \(Quantity.bytes(Int64(rate)))/s, \(time) left"
  }

  private static func words(_ phase: BuildProgress.Phase) -> String {
    switch phase {
    case .reading: "reading the tree"
    case .making: "making the tree"
    case .packing: "packing the root file system"
    case .initramfs: "putting the initramfs together"
    case .checking: "checking the capsule"
    case .unpacking: "unpacking the root file system"
    case .copying: "copying the capsule"
    case .done: "done"
    }
  }
}
