import CapsuleFormat
import StateClient
import StateProtocol

/// Runs a root's pipeline and shows how far it is, on the console and to the appliance.
enum RootFetch {
  static func run<Consumer: FrameConsumer>(
    _ pipeline: FramePipeline, _ step: Step, boot: Boot, through client: inout StateClient,
    makeConsumer: @escaping @Sendable () throws -> Consumer
  ) throws {
    let label = "root"
    let started = Clock.now
    var previous = (done: Int64(0), at: started)
    var last = FramePipeline.Work()
    func watch(_ progress: FramePipeline.Progress) {
      boot.keepLease()
      for note in progress.notes {
        tell(note, at: progress, step, boot, &client)
      }
      let now = Clock.now
      let rate = Double(progress.done - previous.done) / max(now - previous.at, 0.001)
      previous = (progress.done, now)
      last = progress.work
      boot.console.progress(label, done: progress.done, total: progress.total, bytesPerSecond: rate)
      guard progress.done < progress.total else { return }
      boot.report(
        StepEvent(
          step: step.name, outcome: .progress, completedBytes: progress.done, totalBytes: progress.total),
        through: &client)
    }
    try pipeline.run(makeConsumer: makeConsumer, watch: watch)
    let seconds = Clock.now - started
    let total = Int64(clamping: pipeline.index.uncompressedLength)
    boot.console.progress(
      label, done: total, total: total, bytesPerSecond: Double(total) / max(seconds, 0.001), isLast: true)
    boot.say("root: \(last)")
  }

  /// Says what happened on the way: a broken connection, something corrupted.
  static func tell(
    _ note: String, at progress: FramePipeline.Progress?, _ step: Step, _ boot: Boot,
    _ client: inout StateClient
  ) {
    boot.say(note)
    boot.report(
      StepEvent(
        step: step.name, outcome: .progress, detail: note, completedBytes: progress?.done,
        totalBytes: progress?.total), through: &client)
  }
}
