import CapsuleFormat
package import StateProtocol

/// Looks a plan over before anything of it is fetched or run.
package enum PlanCheck {
  /// Bytes of one script or file, and of all of a plan together, that are fetched at most.
  package static let contentLimit: Int64 = 256 << 20
  package static let totalLimit: Int64 = 1 << 30
  /// Bytes of what a running node takes over of another generation, compressed.
  package static let livesyncLimit: Int64 = 8 << 30

  /// What keeps the plan from being followed; `nil` where nothing does.
  package static func fault(in plan: Plan) -> String? {
    guard plan.version == 1 else { return "its version is \(plan.version); version 1 is understood here" }
    if let name = plan.environment.first(where: { !isVariable($0.key) || $0.value.utf8.contains(0) })?.key {
      return "'\(name)' is no environment variable"
    }
    if let wait = plan.wait, !(0...86_400).contains(wait.seconds) { return "it says to wait \(wait.seconds) s" }
    if let seconds = plan.nextSeconds, !(0...86_400).contains(seconds) { return "its next state is in \(seconds) s" }
    guard plan.steps.count <= 4096 else { return "it has \(plan.steps.count) steps" }
    var total: Int64 = 0
    for step in plan.steps {
      if let fault = fault(in: step) { return "step '\(step.name)' \(fault)" }
      if step.kind != .livesync { total += step.length }
    }
    guard total <= totalLimit else { return "its scripts and files are \(total) bytes, more than \(totalLimit)" }
    return nil
  }

  private static func fault(in step: Step) -> String? {
    let name = step.name.utf8
    guard !name.isEmpty, name.count <= 200, !name.contains(UInt8(ascii: "/")), !name.contains(0), step.name != ".",
      step.name != ".."
    else { return "has a name that is none" }
    let limit = step.kind == .livesync ? livesyncLimit : contentLimit
    guard step.length >= 0, step.length <= limit else { return "has \(step.length) bytes" }
    guard (0...100).contains(step.retries ?? 0) else { return "is to be tried again \(step.retries ?? 0) times" }
    guard (1...86_400).contains(step.timeoutSeconds ?? 1) else { return "may take \(step.timeoutSeconds ?? 0) s" }
    switch step.kind {
    case .script:
      return nil
    case .file:
      guard let path = step.path, path.hasPrefix("/"), path.utf8.count < 4096, !path.utf8.contains(0),
        !path.split(separator: "/").contains(".."), !path.hasSuffix("/")
      else { return "has no absolute path" }
      guard (step.mode ?? 0o644) <= 0o7777 else { return "has a mode that is none" }
      for name in [step.owner, step.group].compactMap(\.self) where !isAccount(name) {
        return "has an owner '\(name)' that is none"
      }
      return nil
    case .root:
      guard let root = step.root, root.bytes >= 0, root.entries >= 0, root.blob.size >= 0,
        (root.image?.size ?? 1) > 0
      else {
        return "does not say what the root is filled from"
      }
      return nil
    case .livesync:
      guard let livesync = step.livesync else { return "does not say what the node comes to" }
      if let hook = livesync.hook, !hook.hasPrefix("/") || hook.utf8.contains(0) { return "has a hook without a path" }
      return nil
    case .unknown(let kind):
      return "is of kind '\(kind)', which this version does not know: the capsule's stage 1 is too old for it"
    }
  }

  /// A name as passwd files have them, or a number.
  private static func isAccount(_ name: String) -> Bool {
    (1...64).contains(name.utf8.count)
      && name.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: ":") && $0 != UInt8(ascii: "/") }
  }

  private static func isVariable(_ name: String) -> Bool {
    let bytes = Array(name.utf8)
    guard let first = bytes.first, !(0x30...0x39).contains(first) else { return false }
    return bytes.allSatisfy { byte in
      (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte) || (0x30...0x39).contains(byte) || byte == 0x5F
    }
  }
}
