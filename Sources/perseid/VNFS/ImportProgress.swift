import Capsule
import Glibc
import Synchronization

/// Shows how far a build is: a bar that is redrawn on a terminal, a line for each phase elsewhere.
final class ImportProgress: Sendable {
  private struct State {
    var phase: BuildProgress.Phase?
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
      guard progress.phase != .done else { return close(&state) }
      if isTerminal {
        let now = ContinuousClock.now
        if !isNewPhase, let last = state.lastDrawn, now - last < .milliseconds(100) { return }
        state.lastDrawn = now
        state.isLineOpen = true
        write(to: STDERR_FILENO, "\r\u{1B}[K" + line(progress))
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

  private func line(_ progress: BuildProgress) -> String {
    let words = Self.words(progress.phase)
    guard let total = progress.totalBytes, total > 0 else {
      return progress.completedBytes > 0 ? "\(words) \(Quantity.bytes(progress.completedBytes))" : words
    }
    let share = min(1, Double(progress.completedBytes) / Double(total))
    let filled = Int(share * 30)
    let bar = String(repeating: "#", count: filled) + String(repeating: ".", count: 30 - filled)
    return "\(words) [\(bar)] \(Int(share * 100)) %, \(Quantity.bytes(progress.completedBytes))"
  }

  private static func words(_ phase: BuildProgress.Phase) -> String {
    switch phase {
    case .reading: "reading the tree"
    case .packing: "packing the root file system"
    case .initramfs: "putting the initramfs together"
    case .copying: "copying the capsule"
    case .done: "done"
    }
  }
}
