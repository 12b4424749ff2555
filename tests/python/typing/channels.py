"""What types a user's type checker sees of channels: checked by pyright, never run."""

from collections.abc import Callable
from typing import Literal

from typing_extensions import assert_type

from sluicegate import AckChannel, CreditChannel, Delivery, Permit, Receiver, Sender


class Animal:
    pass


class Dog(Animal):
    pass


class Kennel(AckChannel[Dog]):
    """A subclass with an `__init__` of its own."""

    def __init__(self, url: str, *, places: int) -> None:
        super().__init__(places, name=url, retry=lambda attempt: attempt * 0.1)
        self.url = url


def only_dogs(sender: Sender[Dog]) -> Sender[Dog]:
    return sender


def any_animal(receiver: Receiver[Animal]) -> Receiver[Animal]:
    return receiver


def ends(animals: CreditChannel[Animal], dogs: CreditChannel[Dog], kennel: Kennel) -> None:
    takes_dogs = only_dogs(animals.sender)  # contravariant: who takes any animal takes dogs
    takes_animals: Sender[Animal] = dogs.sender  # pyright: ignore[reportAssignmentType]
    gives_animals = any_animal(dogs.receiver)
    gives_dogs: Receiver[Dog] = animals.receiver  # pyright: ignore[reportAssignmentType]
    takes_dogs.send(Dog())
    takes_dogs.send(Animal())  # pyright: ignore[reportArgumentType]
    assert_type(takes_dogs.permit(2), Permit[Dog])
    assert_type(takes_dogs.clone(), Sender[Dog])
    assert_type(gives_animals.receive(), Animal)
    assert_type(kennel.receiver.receive(), Delivery[Dog])
    assert_type(kennel.url, str)
    print(takes_animals, gives_dogs, Kennel(8))  # pyright: ignore[reportCallIssue]


async def stops(receiver: Receiver[Delivery[Dog]]) -> None:
    assert_type(receiver.stop(), int)
    assert_type(receiver.stop(5), int)
    assert_type(receiver.stop(5, lanes=["a"]), dict[str, int])
    assert_type(await receiver.stop_async(), int)
    assert_type(await receiver.stop_async(lanes={1, 2}), dict[int, int])
    receiver.stop(lanes=1)  # pyright: ignore[reportArgumentType, reportCallIssue]


def callbacks(told: Callable[[str, int], None]) -> None:
    def dead_letter(dog: Dog, reason: Literal["poison", "rejected", "cancelled"], error: BaseException | None) -> None:
        print(dog, reason, error)

    channel = AckChannel[Dog](8, on_discard=dead_letter, lane=lambda dog: 1, on_settled=told, retry=2)
    delivery = channel.receiver.receive()
    delivery.extend(5)
    delivery.nack(error=ValueError())
    delivery.nack(error="text")  # pyright: ignore[reportArgumentType]
    AckChannel[Dog](on_discard=print, retry="soon")  # pyright: ignore[reportArgumentType]
