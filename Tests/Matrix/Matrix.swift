import CHostTree
import Ext4Verify
import Glibc

/// Makes an image with each set of options of the table, fills it, and compares what the kernel
/// (or `debugfs`) and the engine see in it.
///
/// Every image has a process of its own, two at a time: what crashes or hangs fails alone, and the
/// parent unmounts and deletes what it left.
@main
struct Matrix {
    private static let usage = """
        usage: ext4-matrix [--list] [--quick | --all] [--only NAME] [--keep]

          --list       prints the names and the mke2fs options of all images
          --quick      tries a small part of them
          --all        tries all of them, which is what happens anyway
          --only NAME  tries those whose name contains NAME; can be given again
          --keep       does not delete the images

        Needs root (the kernel's mounts are what the engine is compared with).
        """

    /// What the arguments ask for.
    private struct Request {
        var isList = false
        var isQuick = false
        var keeps = false
        var only: [String] = []
        /// For a process that tries one image: the name and the folder.
        var worker: (name: String, folder: String)?
    }

    static func main() {
        guard let request = parse(Array(CommandLine.arguments.dropFirst())) else {
            print(usage)
            exit(2)
        }
        if let (name, folder) = request.worker { exit(work(on: name, in: folder)) }
        let chosen = Recipes.all.filter { recipe in
            (!request.isQuick || recipe.isQuick)
                && (request.only.isEmpty || request.only.contains { recipe.name.contains($0) })
        }
        if request.isList {
            for recipe in chosen { print("\(recipe.name): mke2fs \(recipe.options)") }
            return
        }
        guard Set(Recipes.all.map(\.name)).count == Recipes.all.count else {
            print("ext4-matrix: two images have one name")
            exit(2)
        }
        guard geteuid() == 0 else {
            print("ext4-matrix: needs root to mount images")
            print("0 passed, 0 failed, \(chosen.count) skipped")
            return
        }
        var schedule = Schedule(keeps: request.keeps)
        exit(schedule.run(chosen))
    }

    private static func parse(_ arguments: [String]) -> Request? {
        var request = Request()
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            switch argument {
            case "--list": request.isList = true
            case "--quick": request.isQuick = true
            case "--all": request.isQuick = false
            case "--keep": request.keeps = true
            case "--only":
                guard let name = rest.popFirst() else { return nil }
                request.only.append(name)
            case "--worker":
                guard let name = rest.popFirst(), let folder = rest.popFirst() else { return nil }
                request.worker = (name, folder)
            default: return nil
            }
        }
        return request
    }

    /// Tries one image. The exit code says how it went: 0, 1 for a failure, 3 for skipped.
    private static func work(on name: String, in folder: String) -> Int32 {
        guard let recipe = Recipes.all.first(where: { $0.name == name }) else { return 1 }
        var trial = ImageTrial(recipe, in: folder)
        do {
            try trial.run()
            print(trial.notes.joined(separator: ", "))
            return 0
        } catch TrialError.skipped(let reason) {
            print(reason)
            return 3
        } catch {
            print(error)
            return 1
        }
    }
}
