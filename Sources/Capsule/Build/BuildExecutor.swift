import Dispatch

/// Runs a build's tasks on threads of its own, at low priority: they read files and compress, and the threads
/// that Swift shares among all tasks belong to those who answer nodes.
final class BuildExecutor: TaskExecutor {
  private let queue = DispatchQueue(label: "perseid.capsule.build", qos: .utility, attributes: .concurrent)

  func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    queue.async { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
  }
}
