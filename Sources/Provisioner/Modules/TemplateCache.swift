import Synchronization

/// Texts made of templates, kept for as long as what they were made of is the same: a list of all nodes is written once
/// for all of them, not once for each.
final class TemplateCache: Sendable {
  private struct Entry {
    var reads: TemplateContext.Reads
    var content: [UInt8]
  }

  private let entries = Mutex<[String: [Entry]]>([:])
  private let made = Mutex(0)

  /// Texts that are kept of one template: groups of nodes have their own variables.
  private static let limit = 8
  /// Templates of which texts are kept.
  private static let templateLimit = 1024

  /// How many texts were made.
  var count: Int { made.withLock { $0 } }

  /// - Parameter key: What names the template in this version of its module.
  /// - Throws: `ApplianceError` where the template needs what is not there.
  func render(_ template: ModuleTemplate, key: String, _ context: TemplateContext) throws -> [UInt8] {
    let known = entries.withLock { $0[key] ?? [] }
    if let entry = known.first(where: { context.hasSame($0.reads) }) { return entry.content }
    let content = try template.render(context)
    made.withLock { $0 += 1 }
    let reads = context.reads
    guard !reads.isOfNode else { return content }
    entries.withLock { entries in
      if entries[key] == nil, entries.count >= Self.templateLimit { entries.removeAll() }
      // One of an older list of nodes is of no more use.
      let others = (entries[key] ?? []).filter { reads.directory == nil || $0.reads.directory == reads.directory }
      entries[key] = [Entry(reads: reads, content: content)] + others.prefix(Self.limit - 1)
    }
    return content
  }
}
