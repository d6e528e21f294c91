// Declarations of SwiftUI as far as the probe uses them. For type-checking only.
@_exported import Observation
@_exported import Foundation
@_exported import UIKit

@MainActor public protocol View {
    associatedtype Body: View
    @ViewBuilder var body: Body { get }
}
extension Never: View { public var body: Never { fatalError() } }
public protocol Primitive: View where Body == Never {}
extension Primitive { public var body: Never { fatalError() } }
public struct AnyStub: Primitive { nonisolated init() {} }
public struct EmptyView: Primitive { public init() {} }
public struct Pair<each Part: View>: Primitive { nonisolated init() {} }
public struct Either<First: View, Second: View>: Primitive { nonisolated init() {} }
extension Optional: View where Wrapped: View { public var body: Never { fatalError() } }

@resultBuilder public enum ViewBuilder {
    public static func buildExpression<V: View>(_ view: V) -> V { view }
    public static func buildBlock() -> EmptyView { fatalError() }
    public static func buildBlock<V: View>(_ view: V) -> V { view }
    public static func buildBlock<each V: View>(_ view: repeat each V) -> Pair<repeat each V> { fatalError() }
    public static func buildIf<V: View>(_ view: V?) -> V? { view }
    public static func buildEither<A: View, B: View>(first: A) -> Either<A, B> { fatalError() }
    public static func buildEither<A: View, B: View>(second: B) -> Either<A, B> { fatalError() }
}

@MainActor public protocol Scene {}
@MainActor public protocol App {
    associatedtype Main: Scene
    var body: Main { get }
    init()
}
extension App { public static func main() {} }
public struct WindowGroup<Content: View>: Scene { public init(@ViewBuilder content: () -> Content) {} }

@propertyWrapper public struct State<Value> {
    public init(wrappedValue: Value) {}
    public init() where Value: ExpressibleByNilLiteral {}
    public var wrappedValue: Value { get { fatalError() } nonmutating set {} }
    public var projectedValue: Binding<Value> { fatalError() }
}
@propertyWrapper @dynamicMemberLookup public struct Binding<Value> {
    public init(get: @escaping () -> Value, set: @escaping (Value) -> Void) {}
    public var wrappedValue: Value { get { fatalError() } nonmutating set {} }
    public var projectedValue: Binding<Value> { fatalError() }
    public subscript<Part>(dynamicMember path: WritableKeyPath<Value, Part>) -> Binding<Part> { fatalError() }
}
@propertyWrapper public struct Bindable<Value: AnyObject> {
    public init(wrappedValue: Value) {}
    public var wrappedValue: Value { get { fatalError() } set {} }
    public var projectedValue: Bindable<Value> { fatalError() }
}

public struct Axis { public static let vertical = Axis() }
public struct Color: Sendable {}
public protocol ShapeStyle {}
extension Color: ShapeStyle {}
extension ShapeStyle where Self == Color {
    public static var red: Color { Color() }
    public static var secondary: Color { Color() }
}
public protocol TextSelectability {}
public struct EnabledSelectability: TextSelectability {}
extension TextSelectability where Self == EnabledSelectability { public static var enabled: EnabledSelectability { fatalError() } }

public struct Text: Primitive { public init(_ text: String) {} }
public struct Label: Primitive { public init(_ text: String, systemImage: String) {} }
public struct Spacer: Primitive { public init() {} }
public struct ProgressView: Primitive { public init() {} }
public struct HStack: Primitive { public init<V: View>(@ViewBuilder content: () -> V) {} }
public struct List: Primitive { public init<V: View>(@ViewBuilder content: () -> V) {} }
public struct NavigationStack: Primitive { public init<V: View>(@ViewBuilder root: () -> V) {} }
public struct Section: Primitive { public init<V: View>(_ title: String, @ViewBuilder content: () -> V) {} }
public struct TabView: Primitive {
    public init<S: Hashable, V: View>(selection: Binding<S>?, @ViewBuilder content: () -> V) {}
}
public struct ForEach: Primitive {
    public init<D: RandomAccessCollection, I: Hashable, V: View>(
        _ data: D, id: KeyPath<D.Element, I>, @ViewBuilder content: @escaping (D.Element) -> V) {}
    public init<D: RandomAccessCollection, V: View>(
        _ data: D, @ViewBuilder content: @escaping (D.Element) -> V) where D.Element: Identifiable {}
}
public struct Button: Primitive { public init(_ title: String, action: @escaping @MainActor () -> Void) {} }
public struct Toggle: Primitive { public init(_ title: String, isOn: Binding<Bool>) {} }
public struct Stepper: Primitive {
    public init<V: Strideable>(_ title: String, value: Binding<V>, in bounds: ClosedRange<V>, step: V.Stride = 1) {}
}
public struct TextField: Primitive {
    public init(_ title: String, text: Binding<String>) {}
    public init(_ title: String, text: Binding<String>, axis: Axis) {}
}
public struct Picker: Primitive {
    public init<S: Hashable, V: View>(_ title: String, selection: Binding<S>, @ViewBuilder content: () -> V) {}
}
public struct ShareLink: Primitive { public init(_ title: String, item: URL) {} }

extension View {
    public func tabItem<V: View>(@ViewBuilder _ label: () -> V) -> some View { AnyStub() }
    public func tag<T: Hashable>(_ tag: T) -> some View { AnyStub() }
    public func task(_ action: @escaping @MainActor @Sendable () async -> Void) -> some View { AnyStub() }
    public func onOpenURL(perform action: @escaping (URL) -> Void) -> some View { AnyStub() }
    public func disabled(_ disabled: Bool) -> some View { AnyStub() }
    public func foregroundStyle<S: ShapeStyle>(_ style: S) -> some View { AnyStub() }
    public func monospacedDigit() -> some View { AnyStub() }
    public func navigationTitle(_ title: String) -> some View { AnyStub() }
    public func textSelection<S: TextSelectability>(_ selectability: S) -> some View { AnyStub() }
    public func autocorrectionDisabled(_ disable: Bool = true) -> some View { AnyStub() }
    public func onSubmit(_ action: @escaping () -> Void) -> some View { AnyStub() }
    public func sheet<V: View>(isPresented: Binding<Bool>, @ViewBuilder content: @escaping () -> V) -> some View { AnyStub() }
}
extension Bindable {
    public subscript<Part>(dynamicMember path: ReferenceWritableKeyPath<Value, Part>) -> Binding<Part> { fatalError() }
}

@MainActor public protocol UIViewControllerRepresentable: View where Body == Never {
    associatedtype UIViewControllerType: UIViewController
    associatedtype Coordinator = Void
    typealias Context = RepresentableContext<Self>
    func makeUIViewController(context: Context) -> UIViewControllerType
    func updateUIViewController(_ controller: UIViewControllerType, context: Context)
    func makeCoordinator() -> Coordinator
}
extension UIViewControllerRepresentable { public var body: Never { fatalError() } }
@MainActor public struct RepresentableContext<Representable: UIViewControllerRepresentable> {
    public let coordinator: Representable.Coordinator
}
