import keras
import numpy as np
import pytest

from sharedkeras.data import check_images, check_labels

GOOD = np.linspace(0, 1, 2 * 3 * 3 * 1, dtype="float32").reshape(2, 3, 3, 1)


def spoiled(value):
    x = GOOD.copy()
    x[1, 2, 2, 0] = value
    return x


@pytest.fixture
def float64():
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    yield
    keras.config.set_floatx(before)


class TestImages:
    def test_good_ones_are_returned_uncopied(self):
        assert check_images(GOOD) is GOOD
        assert check_images(np.zeros((1, 1, 1, 3), "float32")).shape == (1, 1, 1, 3)

    def test_tensor(self):
        out = check_images(keras.ops.convert_to_tensor(GOOD))
        assert isinstance(out, np.ndarray)
        np.testing.assert_array_equal(out, GOOD)

    @pytest.mark.parametrize(
        ("x", "error", "message"),
        [
            ((GOOD * 255).astype("uint8"), TypeError, r"Divide by 255"),
            (
                GOOD * 255,
                ValueError,
                r"in \[0, 1\]. Divide by 255: `x / 255`. Received: values in \[0.0, 255.0\]",
            ),
            (
                GOOD * 2 - 1,
                ValueError,
                r"in \[0, 1\]. .*by `\(x \+ 1\) / 2`. Received: values in \[-1.0, 1.0\]",
            ),
            (spoiled(1.0001), ValueError, r"in \[0, 1\]"),
            (spoiled(-1e-6), ValueError, r"in \[0, 1\]"),
            (spoiled(np.nan), ValueError, "1 of 18 values"),
            (spoiled(np.inf), ValueError, "finite"),
            (spoiled(-np.inf), ValueError, "finite"),
            (GOOD.astype("float64"), TypeError, "astype"),
            (GOOD.astype("float16"), TypeError, "float32"),
            (GOOD.astype("int32"), TypeError, "float32"),
            (GOOD > 0.5, TypeError, "float32"),
            (GOOD.astype("complex64"), TypeError, "float32"),
            (GOOD[0], ValueError, r"four axes.*Received: shape \(3, 3, 1\)"),
            (GOOD[..., 0], ValueError, "four axes"),
            (GOOD[:0], ValueError, "at least one"),
            (GOOD.astype(object), TypeError, "array of numbers"),
            ([[1.0], [1.0, 2.0]], TypeError, "array of numbers"),
            ("images", TypeError, "array of numbers"),
            (None, TypeError, "array of numbers"),
            (keras.KerasTensor((2, 3, 3, 1)), TypeError, "array of numbers"),
        ],
    )
    def test_bad_ones(self, x, error, message):
        with pytest.raises(error, match=message):
            check_images(x)

    def test_message_names_the_argument(self):
        with pytest.raises(ValueError, match="`start`"):
            check_images(GOOD[0], name="start")

    def test_float64_where_keras_has_it(self, float64):
        assert check_images(GOOD.astype("float64")).dtype == np.float64
        assert check_images(GOOD).dtype == np.float32
        with pytest.raises(TypeError, match="float32 or float64"):
            check_images(GOOD.astype("float16"))


class TestLabels:
    @pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "int8"])
    def test_good_ones(self, dtype):
        out = check_labels(np.array([0, 9, 3], dtype), 10, size=3)
        assert out.dtype == np.int32
        np.testing.assert_array_equal(out, [0, 9, 3])

    def test_tensor_and_list(self):
        for y in (keras.ops.convert_to_tensor(np.array([1, 2], "int32")), [1, 2]):
            np.testing.assert_array_equal(check_labels(y, 3), [1, 2])

    @pytest.mark.parametrize(
        ("y", "error", "message"),
        [
            (np.eye(10, dtype="int32")[:4], ValueError, "one-hot.*argmax"),
            (np.eye(10, dtype="float32")[:4], ValueError, "one-hot.*argmax"),
            (np.zeros((4, 1), int), ValueError, "reshape"),
            (np.array(3), ValueError, "one axis"),
            (np.zeros(4), TypeError, "astype"),
            (np.zeros(4, bool), TypeError, "integers"),
            (np.array(list("0123")), TypeError, "integers"),
            (np.array([0, 1, None, 2]), TypeError, "integers"),
            (None, ValueError, "one axis"),
            ([[1], [1, 2]], TypeError, "array of integers"),
            (np.array([0, 1, 2, 10]), ValueError, r"0 to 9. Received: labels 0..10"),
            (np.array([0, 1, 2, -1]), ValueError, r"0 to 9. Received: labels -1..2"),
            (np.zeros(3, int), ValueError, "must hold 4 labels.*Received: 3"),
        ],
    )
    def test_bad_ones(self, y, error, message):
        with pytest.raises(error, match=message):
            check_labels(y, 10, size=4)

    def test_without_the_number_of_classes(self):
        np.testing.assert_array_equal(check_labels([1000]), [1000])
        for label in (-1, 2**31):
            with pytest.raises(ValueError, match="number the classes"):
                check_labels([label])
